"""The command says what it did, or in one message what to do; its exit code tells scripts the same. Never a traceback."""

import hashlib
import http.server
import sqlite3
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import msgspec
import pytest
import trio

from proxy import cli, config
from proxy.checks.load import load_site
from proxy.commands.say import explain, leaves
from proxy.commands.show import scaled
from proxy.ledger.ledger import Ledger
from tests.support.views import site_view

EXAMPLE = "deploy/examples/home-heater.toml"


@pytest.fixture
def command(capsys):
    """Runs one command line in this process: (exit code, standard output, standard error)."""

    def run(*words: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.main(list(words))
        shown = capsys.readouterr()
        return caught.value.code, shown.out, shown.err

    return run


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers as `server.answer` says and keeps what was asked."""

    server: "_Server"

    def _reply(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization"), self.rfile.read(length)))
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = _reply  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet: the test looks at `asked`."""


class _Server(http.server.HTTPServer):
    answer: tuple[int, bytes] = (200, b"{}")
    asked: list[tuple[str, str, str | None, bytes]]


@pytest.fixture
def api():
    """A real HTTP server on a free port that answers what a test tells it."""
    server = _Server(("127.0.0.1", 0), _Answers)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(api: _Server) -> str:
    return f"http://127.0.0.1:{api.server_address[1]}"


def test_check_shows_what_a_site_file_means(command):
    code, out, err = command("check", EXAMPLE)
    assert (code, err) == (0, "")
    assert "home-heater.toml can be used." in out
    assert "2 units, 1.6 kW electrical" in out
    assert "every pool must give 4" in out


def test_check_prints_every_mistake_and_exits_78(command, tmp_path):
    site = tmp_path / "site.toml"
    site.write_text("[sites]\n[heat]\nhold_after_s = 0\n")
    code, out, err = command("check", str(site))
    assert code == 78
    assert out == ""
    assert 'site.toml:1: sites: unknown key; did you mean "site"?' in err
    assert "heat.hold_after_s: 0 is out of range" in err
    assert "pools: is missing" in err
    assert "3 mistakes in the site file" in err


def test_run_with_a_wrong_site_file_exits_78_before_anything_starts(command, tmp_path):
    code, _, err = command("run", str(tmp_path / "none.toml"))
    assert code == 78
    assert "cannot be read" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chekc", "x"], 'Did you mean "check"?'),
        (["check"], "requires an argument"),
        (["demo", "--secnds", "3"], "Did you mean --seconds?"),
        (["demo", "--seconds", "long"], 'unable to convert "long"'),
        (["service", "u1", "maybe"], "on"),
        (["ledger", "verfy"], 'Did you mean "verify"?'),
    ],
)
def test_a_wrong_command_line_exits_2_with_the_likely_one(command, words, said):
    code, out, err = command(*words)
    assert code == 2
    assert said in out + err


@pytest.mark.parametrize(
    "words", [[], ["run"], ["check"], ["demo"], ["status"], ["reload"], ["service"], ["apikey"], ["ledger", "verify"]]
)
def test_every_help_teaches_with_an_example(command, words):
    code, out, _ = command(*words, "--help")
    assert code == 0
    assert "Example:" in out or "Start here:" in out


def test_help_and_check_stay_light():
    heavy = "trio", "litestar", "sqlalchemy", "numpy", "hypercorn"
    script = (
        "import sys\nfrom proxy import cli\n"
        f"try: cli.main(['check', '{EXAMPLE}'])\nexcept SystemExit: pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_module_runs_as_the_command_does():
    done = subprocess.run([sys.executable, "-m", "proxy.cli", "check", EXAMPLE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_the_distributions(command):
    _, out, _ = command("--version")
    assert out.strip() == tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]


def test_an_api_key_and_its_table_belong_together(command):
    code, out, _ = command("apikey", "city-heat", "utility")
    key = out.splitlines()[2]
    table = tomllib.loads(out[out.index("[[api.keys]]") :])["api"]["keys"][0]
    assert code == 0
    assert table == {"name": "city-heat", "role": "utility", "sha256": hashlib.sha256(key.encode()).hexdigest()}


def test_an_api_key_needs_a_name_that_the_site_file_takes(command):
    code, _, err = command("apikey", "city heat", "utility")
    assert code == 1
    assert "is no name for a key" in err


def test_status_without_a_proxy_says_so_in_one_line(command):
    code, _, err = command("status", "--url", "http://127.0.0.1:1")
    assert code == 1
    assert "no answer from http://127.0.0.1:1 (Connection refused): is the proxy running there?" in err


def test_status_of_something_else_says_so(command, api):
    api.answer = 404, b"nginx"
    assert "probably not a Thermostratum proxy" in command("status", "--url", url(api))[2]
    api.answer = 200, b'{"name": 1}'
    assert "does not speak as this version does" in command("status", "--url", url(api))[2]
    assert "is no address of a proxy" in command("status", "--url", "localhost")[2]


def test_status_shows_the_site_on_one_screen(command, api):
    api.answer = 200, msgspec.json.encode(site_view())
    code, out, _ = command("status", "--url", url(api))
    assert code == 0
    assert "LIVE: 1,490.0 kW (estimated) of 1,500.0 kW asked, -0.7% from demand" in out
    assert "- measured, 1,579.0 kW commanded, set-point 1,580.0 kW, limited by ramp" in out
    assert "227 RUN, 1 SERVICE; 228 connected, 109 PH/s" in out
    assert "main *" in out
    assert api.asked[0][:3] == ("GET", "/api/v1/status", None)


def test_a_unit_is_taken_out_with_the_key_from_a_file(command, api, tmp_path):
    key = tmp_path / "operator.key"
    key.write_text("secret\n")
    code, out, _ = command("service", "L1/07", "on", "--note", "hose", "--url", url(api), "--key-file", str(key))
    assert code == 0
    assert "is not commanded" in out
    method, path, authorization, body = api.asked[0]
    assert (method, path, authorization) == ("PUT", "/api/v1/units/L1%2F07/service", "Bearer secret")
    assert msgspec.json.decode(body) == {"in_service": True, "note": "hose"}


def test_a_refusal_is_shown_with_its_remedy(command, api):
    problem = {"title": "Conflict", "status": 409, "detail": "2 mistakes", "remedy": "Mend them.", "problems": ["a", "b"]}
    api.answer = 409, msgspec.json.encode(problem)
    code, _, err = command("reload", "--url", url(api))
    assert code == 1
    assert err == "error: 2 mistakes\n  a\n  b\nMend them.\n"


def test_a_missing_key_is_explained_in_the_commands_own_words(command, api):
    api.answer = (
        401,
        msgspec.json.encode({"title": "Unauthorized", "status": 401, "detail": "This needs an API key.", "remedy": "x"}),
    )
    assert "Give --key-file" in command("reload", "--url", url(api))[2]


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), ("", "holds no key"), ("ä", "cannot be read")])
def test_a_key_file_that_holds_no_key_is_told(command, tmp_path, content, said):
    path = tmp_path / "k"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    assert said in command("reload", "--key-file", str(path))[2]


def test_an_address_in_use_is_named_with_the_remedy(api):
    busy = f"127.0.0.1:{api.server_address[1]}"
    site = load_site(Path(EXAMPLE)).config
    quiet = msgspec.structs.replace(site.listen, v1=None)
    site = msgspec.structs.replace(site, listen=quiet, api=msgspec.structs.replace(site.api, listen=busy))
    error = BaseExceptionGroup("nursery", [BaseExceptionGroup("inner", [OSError(98, "Address already in use")])])
    assert f"already in use: {busy}" in explain(error, site)


def test_a_bug_is_not_explained_away():
    with pytest.raises(ExceptionGroup):
        explain(ExceptionGroup("nursery", [KeyError("x")]), None)
    assert len(leaves(ExceptionGroup("a", [ExceptionGroup("b", [KeyError(), ValueError()]), TypeError()]))) == 3


def test_another_programs_package_under_our_name_is_told_at_once(tmp_path):
    (tmp_path / "protocol").mkdir()
    (tmp_path / "protocol/__init__.py").write_text('"""Somebody else\'s."""')
    script = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, '.']; from proxy import cli; cli.main(['check', 'x'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert '"protocol" is another program\'s' in done.stderr
    assert "virtual environment of its own" in done.stderr


def test_numbers_are_shown_with_their_prefix():
    assert [scaled(value, "H/s") for value in (None, 0.0, 999.0, 480e12, 109e15)] == [
        "-",
        "0 H/s",
        "999 H/s",
        "480 TH/s",
        "109 PH/s",
    ]


@pytest.fixture
def ledger_file(tmp_path):
    """A ledger that was opened and closed once."""

    async def open_and_close() -> None:
        book = Ledger.open(config.Ledger(), tmp_path, lambda: 1_770_000_000.0)
        async with trio.open_nursery() as nursery:
            await nursery.start(book.run)
            nursery.cancel_scope.cancel()

    trio.run(open_and_close)
    return tmp_path / "ledger.sqlite3"


def test_a_sound_ledger_is_verified_by_its_url_or_its_site_file(command, ledger_file, tmp_path):
    code, out, _ = command("ledger", "verify", f"sqlite:///{ledger_file}")
    assert code == 0
    assert out.endswith("the ledger is sound\n")
    site = tmp_path / "site.toml"
    site.write_text(f'[site]\ndata_dir = "."\n{Path(EXAMPLE).read_text().split("[listen]")[1].join(["[listen]", ""])}')
    assert command("ledger", "verify", str(site))[0] == 0


def test_a_ledger_that_is_not_there_is_told_with_the_remedy(command, tmp_path):
    code, _, err = command("ledger", "verify", f"sqlite:///{tmp_path / 'none.sqlite3'}")
    assert code == 1
    assert "there is none; start the proxy once" in err


def test_a_ledger_with_problems_exits_1_and_names_them(command, ledger_file):
    with sqlite3.connect(ledger_file) as db:
        db.execute("INSERT INTO audit VALUES (1, 0.0, 'nobody', 'unit.level', 'u1', NULL, NULL, 'ok', ?)", (bytes(32),))
    code, out, err = command("ledger", "verify", f"sqlite:///{ledger_file}")
    assert code == 1
    assert "BROKEN" in out
    assert err.startswith("error: ")
