"""A site file is either usable or every mistake in it is told at once, with its place and what is allowed."""

import os
from pathlib import Path

import pytest
import trustme

from proxy.checks.load import load_site
from proxy.errors import ConfigError

SITE = """
[[pools]]
name = "main"
url = "stratum+ssl://pool.example:443"
user = "account"

[[loops]]
name = "east"

[models.heater]
levels = [
    { name = "eco", power_w = 500, hashrate_hps = 25e12, setting = 0 },
    { name = "full", power_w = 800, hashrate_hps = 37e12, setting = 1 },
]

[[units]]
id = "u1"
address = "10.0.0.1"
model = "heater"
loop = "east"
"""


@pytest.fixture
def site(tmp_path):
    """Writes a site file; returns its path."""

    def write(text: str = SITE, **files: str) -> Path:
        for name, content in files.items():
            (tmp_path / name.replace("_csv", ".csv")).write_text(content, encoding="utf-8")
        path = tmp_path / "site.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_site(path)
    return caught.value.problems


def only_problem(path: Path) -> str:
    found = problems(path)
    assert len(found) == 1, found
    return found[0]


def after(header: str, lines: str) -> str:
    """SITE with lines put below a header, which may come from SITE."""
    return SITE.replace(header, f"{header}\n{lines}", 1) if header in SITE else f"{SITE}\n{header}\n{lines}\n"


def test_a_good_file_gives_a_configuration_without_warnings(site):
    loaded = load_site(site())
    assert loaded.warnings == []
    assert loaded.config.pools[0].name == "main"
    assert loaded.config.units[0].id == "u1"


def test_paths_are_relative_to_the_file_and_become_absolute(site, tmp_path):
    loaded = load_site(site(after("[site]", 'data_dir = "ledger"')))
    assert loaded.config.site.data_dir == str(tmp_path / "ledger")


def test_every_mistake_is_reported_in_one_go_with_its_line(site):
    text = SITE.replace('url = "stratum+ssl://pool.example:443"', 'url = "http://pool.example"').replace(
        'loop = "east"', 'loop = "esat"'
    )
    text += "\n[heat]\nmax_power_kw = 5\nhold_after_s = 0\n"
    found = problems(site(text))
    assert [line.split(": ")[0] for line in found] == ["site.toml:4", "site.toml:20", "site.toml:23", "site.toml:24"]
    assert "pools[0].url" in found[0]
    assert 'units[0].loop: there is no [[loops]] called "esat"; did you mean "east"?' in found[1]
    assert 'heat.max_power_kw: unknown key; did you mean "max_power_w" (in watts)?' in found[2]
    assert "heat.hold_after_s: 0 is out of range; allowed: a number from 1 to 86,400 seconds" in found[3]


def test_a_syntax_error_has_line_and_column(site):
    assert only_problem(site("[site]\nname = \n")).startswith("site.toml:2:8: is not TOML")


def test_a_missing_file_is_told_in_one_line(tmp_path):
    assert "cannot be read: No such file" in only_problem(tmp_path / "none.toml")


def test_a_file_that_is_not_utf8_is_told(tmp_path):
    path = tmp_path / "site.toml"
    path.write_bytes(b'[site]\nname = "\xff"\n')
    assert "is not UTF-8 (byte 15)" in only_problem(path)


@pytest.mark.parametrize(
    ("header", "lines", "expected"),
    [
        ("[site]", 'nmae = "x"', 'site.nmae: unknown key; did you mean "name"?'),
        ("[site]", "max_power_w = 5", "it belongs into [[loops]] or [heat]"),
        ("[site]", "zzz = 5", "unknown key; allowed here: name, data_dir"),
        ("[listen]", 'proxy_protocol = "requird"', 'did you mean "required"?'),
        ("[listen]", 'v1 = "3333"', "allowed: host:port"),
        ("[listen]", 'v1 = "0.0.0.0:8080"', "clashes with listen.v1"),
        ("[listen]", 'proxy_protocol = "required"', "list the networks of your load balancer"),
        ("[listen]", 'proxy_protocol_from = ["10.0.0.1/8"]', 'did you mean "10.0.0.0/8"?'),
        ("[listen]", 'proxy_protocol_from = ["lan"]', "allowed: address/bits"),
        ("[listen]", 'v1_tls = "0.0.0.0:3334"\ntls_key = "/dev/null"', "listen.tls_certificate: is missing"),
        ("[vardiff]", "min_difficulty = 64\nmax_difficulty = 32", "64 must be at most vardiff.max_difficulty (32)"),
        ("[heat]", "hold_after_s = 400", "400 must be below heat.fallback_after_s (300)"),
        ("[heat]", "min_power_w = 700\nmax_power_w = 600", "700 must be at most heat.max_power_w (600)"),
        ("[heat]", "min_power_w = 900", "is above what all units together can draw (800 W)"),
        ("[heat]", "enabled = 1", "1 is a whole number; allowed: true or false"),
        ("[heat]", "max_power_w = inf", "is not a number anything can be set to"),
        ("[ledger]", 'url = "mysql://x"', '"mysql" is no database it can use'),
        ("[[loops]]", 'name = "east"', "give each loop its own name"),
        ("[[pools]]", 'name = "main"\nurl = "stratum+ssl://b.example:443"\nuser = "x"', "give each pool its own name"),
        ("[[pools]]", 'name = "b"\nurl = "stratum+ssl://b.example:0"\nuser = "x"', "has no usable host and port"),
        ("[[units]]", 'id = "u2"\naddress = "10.0.0.1"\nmodel = "heater"\nloop = "east"', "two units cannot be one machine"),
        ("[[units]]", 'id = "u1"\naddress = "10.0.0.2"\nmodel = "heater"\nloop = "east"', "give each unit its own id"),
        ("[[units]]", 'id = "u2"\naddress = "miner-2"\nmodel = "heater"\nloop = "east"', "is no IP address"),
        ("[[units]]", 'id = "u2"\naddress = "10.0.0.2"\nmodel = "haeter"\nloop = "east"', 'did you mean "heater"?'),
        ("[[units]]", 'id = "u2"\naddress = "10.0.0.2"\nmodel = "heater"\nloop = "east"\npool = "mian"', 'did you mean "main"?'),
        ("[[units]]", 'id = "u2"\naddress = "10.0.0.2"\nmodel = "heater"\nloop = "east"\nworker = "u1"', "booked to a unit by"),
    ],
)  # fmt: skip
def test_each_mistake_says_what_is_allowed(site, header, lines, expected):
    # A second array item goes to the end of the file; a table of its own too.
    text = f"{SITE}\n{header}\n{lines}\n"
    assert any(expected in line for line in problems(site(text))), problems(site(text))


def test_a_name_that_is_misspelt_is_not_also_called_missing(site):
    found = problems(site(SITE.replace("user =", "usr =")))
    assert [line.partition(": ")[2] for line in found] == ['pools[0].usr: unknown key; did you mean "user"?']


def test_levels_must_rise_and_differ(site):
    text = SITE.replace("power_w = 800", "power_w = 400").replace("setting = 1", "setting = 0")
    found = "\n".join(problems(site(text)))
    assert "models.heater.levels[1].power_w: 400 is not above levels[0] (500)" in found
    assert "models.heater.levels[1].setting" in found


def test_a_worker_name_longer_than_the_firmware_keeps_is_a_mistake(site):
    assert "heater cuts it after 63" in only_problem(site(after("[[units]]", f'worker = "{"w" * 64}"')))


def test_a_worker_name_that_only_fits_without_the_account_is_a_warning(site):
    loaded = load_site(site(after("[[units]]", f'worker = "{"w" * 60}"')))
    assert any("together exceed the 63 characters" in line for line in loaded.warnings)


def test_more_units_than_ids_is_a_mistake(site):
    rows = "\n".join(f"u{n},10.1.{n // 250}.{n % 250},heater,east" for n in range(300))
    text = 'units_file = "units.csv"\n' + SITE[: SITE.index("[[units]]")] + "\n[listen]\nunit_id_bytes = 1\nmax_connections = 200\n"
    assert "1 bytes are 256 units, but there are 300" in only_problem(site(text, units_csv=f"id,address,model,loop\n{rows}\n"))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("[[loops]]\nname = 'west'", 'no unit is in loop "west"'),
        ("[models.spare]\nlevels = [{ name = 'on', power_w = 100, hashrate_hps = 1e12 }]", "no unit is of this model"),
        ("[listen]\nv1 = '0.0.0.0:0'", "port 0 is any free port"),
        ("[listen]\nextranonce2_bytes = 4", "6 bytes with unit_id_bytes"),
        ("[listen]\nversion_mask = '00000000'", "searches a whole job in 7.61 s"),
        ("[api]\nlisten = '0.0.0.0:8080'", "anybody may read, nobody"),
        ("[heat]\nenabled = false", "no unit is ever commanded"),
        ("[[pools]]\nname = 'b'\nurl = 'stratum+tcp://b.example:3333'\nuser = 'x'", "is not encrypted"),
        ("[[pools]]\nname = 'b'\nurl = 'stratum+tcp://127.0.0.1:3333'\nuser = 'x'\ntls_ca = '/dev/null'", "use stratum+ssl"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(site, lines, expected, request):
    text = f"{SITE}\n{lines}\n"
    if "/dev/null" in lines:
        assert any("holds no PEM certificate" in line for line in problems(site(text)))
        return
    assert any(expected in line for line in load_site(site(text)).warnings)


def test_a_pool_on_this_machine_may_be_plain(site):
    text = SITE.replace("stratum+ssl://pool.example:443", "stratum+tcp://127.0.0.1:3333")
    assert load_site(site(text)).warnings == []


def test_a_password_is_never_shown(site):
    assert "424242" not in only_problem(site(after("[[pools]]", "password = 424242")))


def test_units_come_from_a_spreadsheet_too(site):
    csv = "\ufeffid;address;model;loop;in_service;api_port\nu2;10.0.0.2;heater;east;yes;4029\n;;;;;\nu3;10.0.0.3;heater;east;;\n"
    loaded = load_site(site('units_file = "units.csv"\n' + SITE, units_csv=csv))
    assert [unit.id for unit in loaded.config.units] == ["u1", "u2", "u3"]
    assert loaded.config.units[1].in_service is True
    assert loaded.config.units[1].api_port == 4029
    assert loaded.config.units[2].api_port is None


def test_mistakes_in_a_units_file_have_the_line_there(site):
    csv = "id,address,model,loop,api_port\nu2,10.0.0.2,heater,west,x\nu3,10.0.0.3\nu1,10.0.0.4,heater,east,4028\n"
    found = problems(site('units_file = "units.csv"\n' + SITE, units_csv=csv))
    assert any(line.startswith('units.csv:2: loop: there is no [[loops]] called "west"') for line in found)
    assert any(line.startswith('units.csv:2: api_port: "x" is text') for line in found)
    assert "units.csv:3: has 2 cells, the first line has 5" in found
    assert any(line.startswith('units.csv:4: id: "u1" is already at site.toml:18: units[0].id') for line in found)


def test_an_unknown_column_is_told_with_the_likely_one(site):
    found = problems(site('units_file = "units.csv"\n' + SITE, units_csv="id,adress,model,loop\n"))
    assert found == ['units.csv:1: unknown column "adress"; did you mean "address"?']


def test_a_missing_units_file_is_told(site):
    assert "cannot be read" in only_problem(site('units_file = "none.csv"\n' + SITE))


@pytest.fixture
def certificate(tmp_path):
    """Writes a certificate and its key; returns the lines of [listen] that use them."""

    def write(not_after=None, key_of=None, mode: int = 0o600) -> str:
        authority = trustme.CA()
        issued = authority.issue_cert("proxy.example", not_after=not_after)
        other = authority.issue_cert("other.example") if key_of == "other" else issued
        issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
        key = tmp_path / "tls.key"
        other.private_key_pem.write_to_path(key)
        key.chmod(mode)
        return 'v1_tls = "0.0.0.0:3334"\ntls_certificate = "tls.crt"\ntls_key = "tls.key"'

    return write


def test_a_good_certificate_passes(site, certificate):
    assert load_site(site(after("[listen]", certificate()))).warnings == []


def test_an_expired_certificate_is_a_mistake(site, certificate):
    import datetime

    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    assert "has expired; renew it" in only_problem(site(after("[listen]", certificate(not_after=past))))


def test_a_certificate_that_ends_soon_is_a_warning(site, certificate):
    import datetime

    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3)
    assert any("expires in 3.0 days" in line for line in load_site(site(after("[listen]", certificate(soon)))).warnings)


def test_a_key_of_another_certificate_is_a_mistake(site, certificate):
    assert "the key belongs to another certificate" in only_problem(site(after("[listen]", certificate(key_of="other"))))


def test_a_key_that_others_can_read_is_a_mistake(site, certificate):
    assert "can be read by others (mode 0644); chmod 600" in only_problem(site(after("[listen]", certificate(mode=0o644))))


def test_a_key_that_is_no_key_is_a_mistake(site, certificate, tmp_path):
    text = after("[listen]", certificate())
    (tmp_path / "tls.key").write_text("no key")
    assert "cannot be used with tls.key" in only_problem(site(text))


def test_a_private_authority_must_hold_a_certificate(site, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    assert "holds no PEM certificate" in only_problem(site(after("[[pools]]", 'tls_ca = "ca.pem"')))


def test_a_data_dir_that_is_a_file_is_a_mistake(site, tmp_path):
    (tmp_path / "var").write_text("")
    assert "is not a directory" in only_problem(site())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_dir_that_cannot_be_written_is_a_warning(site):
    assert any("is not writable" in line for line in load_site(site(after("[site]", 'data_dir = "/proc/x"'))).warnings)


@pytest.mark.parametrize("example", sorted(Path("deploy/examples").glob("*.toml")), ids=lambda path: path.name)
def test_every_example_passes_without_a_warning(example):
    assert [line for line in load_site(example).warnings if "file descriptors" not in line and "not writable" not in line] == []
