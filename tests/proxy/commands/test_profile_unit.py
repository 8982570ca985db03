"""`thermostratum profile-unit`: what it refuses before it touches a machine, and what it writes."""

import re
import tomllib

import pytest
import trio

from proxy import cli
from proxy.commands import profile_unit as command
from proxy.commands.profile_gate import ProxyGate, WorkFrom
from proxy.commands.say import CliError
from proxy.units.drivers.base import Reading
from proxy.units.profile import Plan, Profile, ProfileError, Setting
from proxy.units.profile_trace import Rest
from tests.proxy.web.fake_site import KEYS, FakeSite
from tests.proxy.web.serving import Clock
from tests.proxy.web.thread_server import thread_server

PLAN = Plan(driver="avalon", settings=(Setting(0), Setting(1)), with_sleep=False)
PROFILE = Profile(
    plan=PLAN,
    found=Reading(at_s=0.0, model_name="Avalon Miner 1566HA/x", firmware="f1", serial="s1", level_observed=1),
    levels=(Rest(4_000.4, 270e12), Rest(8_064.2, 480e12)),
    changes=(),
    sleep=None,
    wake=None,
    calibrated=False,
)


@pytest.fixture
def run(capsys):
    def run(*words):
        with pytest.raises(SystemExit) as caught:
            cli.main(["profile-unit", *words])
        return caught.value.code, re.sub(r"\s+", " ", capsys.readouterr().err)

    return run


def request(tmp_path, name="new.toml", **more):
    return command.Request(
        **({"address": "10.0.0.1", "port": None, "plan": PLAN, "account": {}, "name": None, "out": tmp_path / name} | more)
    )


def test_levels_are_settings_with_voltages_where_they_are_given():
    assert command.parse_settings("400@1100, 490@1150") == (Setting(400, 1_100), Setting(490, 1_150))
    assert command.parse_settings("50,75,100") == (Setting(50), Setting(75), Setting(100))


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1@", "1,1", "1@x", ",".join(map(str, range(17)))])
def test_other_levels_are_refused(text):
    with pytest.raises(CliError, match="--levels"):
        command.parse_settings(text)


def test_without_a_terminal_and_without_yes_nothing_is_done(run):
    code, said = run("127.0.0.1", "--driver", "avalon", "--levels", "0,1")
    assert (code, "--yes" in said) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("miner.example", "--driver", "avalon", "--levels", "0,1"), "no IP address"),
        (("127.0.0.1", "--driver", "braiins", "--levels", "0,1"), "--password-file"),
        (("127.0.0.1", "--driver", "braiins", "--levels", "0,1", "--password-file", "/absent"), "cannot be read"),
        (("127.0.0.1", "--driver", "avalon", "--levels", "0,1", "--patience", "5"), "--patience"),
        (("127.0.0.1", "--driver", "avalon", "--levels", "0,1", "--out", "/absent/x.toml"), "no folder"),
        (("127.0.0.1", "--driver", "avalon", "--levels", "0,1", "--port", "1", "--yes"), "is it powered"),
    ],
)
def test_what_cannot_end_well_is_said_first(run, words, said):
    code, told = run(*words)
    assert code in (cli.EXIT_FAILED, cli.EXIT_CONFIG)
    assert said in told


def test_a_file_is_written_once_and_never_over_another(tmp_path, capsys):
    command.write(request(tmp_path), PROFILE)
    written = tomllib.loads((tmp_path / "new.toml").read_text())
    levels = written["models"]["avalonminer1566hax"]["levels"]
    assert [level["power_w"] for level in levels] == [4_000, 8_064]
    with pytest.raises(CliError, match="not overwritten"):
        command.check_request(request(tmp_path))
    with pytest.raises(CliError, match="cannot be written"):
        command.write(request(tmp_path), PROFILE)
    assert "[models." in capsys.readouterr().out


def test_the_person_who_is_asked_knows_what_will_happen(tmp_path):
    told = command.describe(request(tmp_path))
    assert all(word in told for word in ("10.0.0.1", "set to 0, 1", "brought back", "take it out for service"))
    assert "sleep" not in told


@pytest.fixture
def running(tmp_path):
    """A running proxy, a unit of it, and how the command is told of them."""
    site = FakeSite(Clock())
    key = tmp_path / "operator.key"
    key.write_text(KEYS["operator"])
    with thread_server(site) as server:
        yield site, lambda unit: WorkFrom(unit=unit, url=server.url, key_file=key)


def unit_that_is(site, **facts):
    return next(unit for unit in site.units() if all(getattr(unit, name) == value for name, value in facts.items()))


def test_work_is_kept_from_the_machine_through_the_proxy_that_gives_it(running):
    site, work = running
    unit = site.units()[0]
    gate = ProxyGate(work(unit.id))
    trio.run(gate.withhold, 120.0)
    trio.run(gate.give_back)
    assert [what for what, _ in site.actions] == [f"work {unit.id} 120.0", f"work {unit.id} None"]
    site.refusal = "it is in heat control"
    with pytest.raises(ProfileError, match="in heat control"):
        trio.run(gate.withhold, 120.0)


def test_another_machine_than_the_units_one_in_heat_control_and_one_that_mines_elsewhere_are_refused(running):
    site, work = running
    unit = unit_that_is(site, in_service=False, connected=True)
    with pytest.raises(CliError, match="is at"):
        ProxyGate(work(unit.id)).check("203.0.113.9")
    with pytest.raises(CliError, match="take it out first"):
        ProxyGate(work(unit.id)).check(unit.address)
    with pytest.raises(CliError, match="No unit of this id"):
        ProxyGate(work("nobody")).check("10.0.0.1")


def test_the_person_who_is_asked_knows_how_long_it_gets_no_work(tmp_path):
    told = command.describe(request(tmp_path, work=WorkFrom(unit="u1", url="http://127.0.0.1:1", key_file=None)))
    assert "no work for 15 minutes" in told
