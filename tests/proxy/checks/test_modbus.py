"""What a site file may say of Modbus and of meters, and what it is told otherwise."""

from pathlib import Path

import pytest

from proxy.checks.modbus import check_modbus
from proxy.checks.report import Report
from proxy.config import Listen, ModbusSignal, Pool, Signals, SiteConfig
from tests.support.site_checks import site_with, told_of

SERVER = '[signals.modbus]\nlisten = "10.20.0.5:1502"\nallow = ["10.20.0.17/32"]\n'
METER = '[[meters]]\nname = "billing"\naddress = "10.20.0.31:502"\n'
LOOPS = '[[loops]]\nname = "north"\n[[loops]]\nname = "south"\n'
CUSTOM = METER + 'profile = "custom"\n'


def told(tmp_path: Path, text: str) -> tuple[list[str], list[str]]:
    """(mistakes, warnings about signals and meters) of a site with this text."""
    return told_of(site_with(tmp_path, text), "signals.modbus", "meters")


@pytest.mark.parametrize(
    "text",
    [
        SERVER,
        METER,
        LOOPS + METER + 'place = "boundary"\n',
        METER + 'protocol = "mbus"\ndevice_id = 17\nperiod_s = 30\n',
        CUSTOM + 'measures = "electricity"\nregisters = [{quantity = "power_w", address = 12}]\n',
        CUSTOM
        + 'registers = [{quantity = "flow_l_per_h", address = 1}, {quantity = "supply_c", address = 3}, '
        + '{quantity = "return_c", address = 5}]\n',
        METER + 'registers = [{quantity = "energy_wh", address = 48, kind = "uint32", scale = 1000}]\n',
    ],
)
def test_a_good_table_needs_nothing_else(tmp_path: Path, text: str) -> None:
    assert told(tmp_path, text) == ([], [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[signals.modbus]\nlisten = "10.20.0.5:1502"\n', "nobody may connect"),
        (SERVER.replace("10.20.0.5:1502", "10.20.0.5"), "no address to listen on"),
        (SERVER.replace("/32", "/24"), 'did you mean "10.20.0.0/24"'),
        (SERVER.replace("10.20.0.17/32", "plc"), "is no network"),
        (METER + METER.replace("31", "32"), "already at"),
        (METER + METER.replace("billing", "second"), "one meter"),
        (METER.replace("billing", "boundary"), "take another name"),
        (LOOPS + METER + 'place = "nort"\n', 'did you mean "north"'),
        (METER.replace(":502", ""), "no host:port"),
        (METER + "period_s = 60\n", "stale before the next"),
        (CUSTOM, "has none of its own"),
        (CUSTOM + 'registers = [{quantity = "supply_c", address = 12}]\n', "say no heat"),
        (METER + 'measures = "electricity"\n', "is a heat meter"),
        (CUSTOM + 'measures = "electricity"\nregisters = [{quantity = "energy_wh", address = 12}]\n', "lack power_w"),
        (METER + 'registers = [{quantity = "power_w", address = 12}]\n', "one of them"),
        (METER + 'registers = [{quantity = "heat_w", address = 4, scale = 0}]\n', "every reading 0"),
        (METER + 'registers = [{quantity = "energy_wh", address = 65535, kind = "uint32"}]\n', "leaves no room"),
        (
            METER + 'registers = [{quantity = "energy_wh", address = 1}, {quantity = "energy_wh", address = 9}]\n',
            "each quantity once",
        ),
        (METER + 'registers = [{quantity = "heat", address = 1}]\n', "quantity"),
    ],
)
def test_each_mistake_says_what_to_do(tmp_path: Path, text: str, says: str) -> None:
    mistakes, _ = told(tmp_path, text)
    assert len(mistakes) == 1, mistakes
    assert says in mistakes[0]


def test_a_port_that_miners_have_cannot_be_the_controllers(tmp_path: Path) -> None:
    site = SiteConfig(
        pools=[Pool(name="p", url="stratum+tcp://pool:3333", user="x")],
        listen=Listen(v1="0.0.0.0:3333"),
        signals=Signals(modbus=ModbusSignal(listen="10.20.0.5:3333", allow=["10.20.0.17/32"])),
    )
    report = Report(tmp_path / "site.toml")
    check_modbus(site, report)
    (problem,) = report.problems
    assert "clashes with listen.v1" in problem


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[signals.modbus]\nallow = ["10.20.0.17/32"]\n', "has no effect"),
        (SERVER.replace("1502", "502"), "CAP_NET_BIND_SERVICE"),
        (SERVER.replace("10.20.0.5", "0.0.0.0"), "plant's network"),
        (SERVER.replace("1502", "0"), "any free port"),
        (SERVER.replace("10.20.0.17/32", "10.0.0.0/8"), "name the controllers"),
        (SERVER + "idle_timeout_s = 30\n", "is cut off"),
        (METER + 'protocol = "mbus"\nperiod_s = 5\n', "wears the battery"),
        (METER + 'protocol = "mbus"\nregisters = [{quantity = "heat_w", address = 4}]\n', "have no effect"),
        (METER + "timeout_s = 20\n", "delays the next"),
        (LOOPS + METER + 'place = "north"\n', "loop south has no heat meter"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(tmp_path: Path, text: str, says: str) -> None:
    mistakes, warnings = told(tmp_path, text)
    assert mistakes == []
    assert len(warnings) == 1, warnings
    assert says in warnings[0]
