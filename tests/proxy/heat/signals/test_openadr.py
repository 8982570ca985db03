"""The virtual end node against a server that follows the published interface, over real HTTP on loopback."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from proxy import config
from proxy.config import SiteConfig
from proxy.events import EventLog
from proxy.heat.demand import HeatDemand
from proxy.heat.signals import openadr
from proxy.heat.signals.status import SignalStatus
from tests.support.patience import PATIENCE_S
from tests.support.signal_port import RecordingPort
from tests.support.vtn import Vtn

NOW = 1_768_435_200.0  # 2026-01-15T00:00:00Z
MIDNIGHT = "2026-01-15T00:00:00Z"


class Rig:
    """An end node that runs, the plant behind it, and a wall clock that a test turns."""

    def __init__(self, nursery: trio.Nursery, vtn: Vtn, directory: Path, **keys: object) -> None:
        self.nursery, self.vtn = nursery, vtn
        self.port = RecordingPort()
        self.events = EventLog(lambda: self.now)
        self.now = NOW
        self.secret = directory / "secret"
        self.secret.write_text("right\n")
        all_keys: dict[str, object] = {
            "url": vtn.url,
            "client_id": "hall",
            "client_secret_file": str(self.secret),
            "poll_period_s": 0.02,
            "report_period_s": 0.03,
            **keys,
        }
        self.site = SiteConfig(
            site=config.Site(name="hall"),
            pools=[config.Pool(name="p", url="stratum+tcp://127.0.0.1:1", user="u")],
            signals=config.Signals(openadr=config.OpenAdrSignal(**all_keys)),  # type: ignore[arg-type]  # the table's own keys
        )
        self.status = SignalStatus("openadr", vtn.url, self.events, trio.current_time)

    def start(self) -> "Rig":
        self.nursery.start_soon(openadr.serve, self.site, self.port, self.status, lambda: self.now)
        return self

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(PATIENCE_S):
            while not condition():
                await trio.sleep(0.005)

    async def polled(self) -> None:
        """A whole poll that began after now."""
        before = self.vtn.requests.count("GET /events")
        await self.until(lambda: self.vtn.requests.count("GET /events") >= before + 2)

    async def asked(self, count: int) -> HeatDemand:
        await self.until(lambda: len(self.port.accepted) >= count)
        return self.port.accepted[count - 1]


@pytest.fixture
async def vtn(nursery: trio.Nursery) -> AsyncIterator[Vtn]:
    vtn = Vtn()
    await nursery.start(vtn.run)
    yield vtn
    nursery.cancel_scope.cancel()


@pytest.fixture
def rig(nursery: trio.Nursery, vtn: Vtn, tmp_path: Path) -> Rig:
    return Rig(nursery, vtn, tmp_path)


async def test_it_registers_and_follows_a_dispatch_until_its_end(rig: Rig, vtn: Vtn) -> None:
    vtn.dispatch("e1", 1_500.0, MIDNIGHT, "PT15M")
    demand = await rig.start().asked(1)
    assert (demand.source, demand.power_w, demand.supply_c) == ("openadr", 1_500_000.0, None)
    assert (demand.valid_from_unix_s, demand.valid_until_unix_s) == (NOW, NOW + 900)
    assert [ven["venName"] for ven in vtn.vens] == ["hall"]
    view = rig.status.view()
    assert (view.connected, view.accepted, view.refused) == (True, 1, 0)
    await rig.polled()
    assert len(rig.port.accepted) == 1


async def test_the_next_interval_begins_on_time(rig: Rig, vtn: Vtn) -> None:
    two = [{"id": k, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [kw]}]} for k, kw in enumerate((1_500.0, 1_200.0))]
    vtn.dispatch("e1", 0, MIDNIGHT, "PT15M", intervals=two)
    await rig.start().asked(1)
    rig.now = NOW + 900
    demand = await rig.asked(2)
    assert (demand.power_w, demand.valid_until_unix_s) == (1_200_000.0, NOW + 1_800)


async def test_a_modified_event_is_followed_and_a_deleted_one_ends_at_once(rig: Rig, vtn: Vtn) -> None:
    vtn.dispatch("e1", 1_500.0, MIDNIGHT, "PT15M")
    await rig.start().asked(1)
    rig.now = NOW + 60
    vtn.dispatch("e1", 1_100.0, MIDNIGHT, "PT15M", modified="2026-01-15T00:01:00Z")
    assert (await rig.asked(2)).power_w == 1_100_000.0
    del vtn.events["e1"]
    last = await rig.asked(3)
    assert (last.power_w, last.valid_until_unix_s) == (1_100_000.0, NOW + 61)


async def test_an_event_cancelled_by_an_empty_window_ends_at_once(rig: Rig, vtn: Vtn) -> None:
    vtn.dispatch("e1", 1_500.0, MIDNIGHT, "PT15M")
    await rig.start().asked(1)
    vtn.dispatch("e1", 1_500.0, "0001-01-01", "PT0S", modified="2026-01-15T00:01:00Z")
    assert (await rig.asked(2)).valid_until_unix_s == NOW + 1


async def test_a_do_it_now_event_holds_only_as_long_as_the_server_is_heard(rig: Rig, vtn: Vtn) -> None:
    vtn.dispatch("e1", 1_500.0, "0001-01-01", "P9999Y")
    assert (await rig.start().asked(1)).valid_until_unix_s == NOW + 3_600
    rig.now = NOW + 2_000
    assert (await rig.asked(2)).valid_until_unix_s == NOW + 5_600
    vtn.faults["/events"] = (503, b"{}")
    await rig.until(lambda: not rig.status.view().connected)
    rig.now = NOW + 7_000
    looks = rig.port.alive
    await rig.until(lambda: rig.port.alive > looks + 1)
    assert len(rig.port.accepted) == 2


async def test_the_lower_number_of_priority_rules(rig: Rig, vtn: Vtn) -> None:
    vtn.dispatch("plain", 900.0, MIDNIGHT, "PT15M")
    vtn.dispatch("low", 1_000.0, MIDNIGHT, "PT15M", priority=7)
    vtn.dispatch("high", 1_400.0, MIDNIGHT, "PT10M", priority=0)
    assert (await rig.start().asked(1)).power_w == 1_400_000.0
    rig.now = NOW + 600
    assert (await rig.asked(2)).power_w == 1_000_000.0


@pytest.mark.parametrize("celsius", ["CELSIUS", "CELCIUS"])
async def test_import_limit_and_supply_temperature_are_understood(rig: Rig, vtn: Vtn, celsius: str) -> None:
    limit = {"type": "IMPORT_CAPACITY_LIMIT", "values": [1_250]}
    supply = {"type": "CONTROL_SETPOINT", "values": [78.0]}
    vtn.put(
        "e1",
        payloadDescriptors=[
            {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "IMPORT_CAPACITY_LIMIT", "units": "KW"},
            {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "CONTROL_SETPOINT", "units": celsius},
        ],
        intervals=[{"id": 4, "intervalPeriod": {"start": MIDNIGHT, "duration": "PT1H"}, "payloads": [limit, supply]}],
    )
    demand = await rig.start().asked(1)
    assert (demand.power_w, demand.supply_c) == (None, 78.0)
    await rig.until(lambda: bool(rig.port.limits))
    assert rig.port.limits == [(1_250_000.0, NOW + 3_600, "openadr")]
    vtn.events.clear()
    await rig.until(lambda: len(rig.port.limits) == 2)
    assert rig.port.limits[1][0] is None


async def test_a_program_is_found_by_its_name_and_lends_its_units(
    rig: Rig, vtn: Vtn, nursery: trio.Nursery, tmp_path: Path
) -> None:
    units = {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "DISPATCH_SETPOINT", "units": "KW"}
    vtn.programs = [vtn.program("prices"), vtn.program("heat", payloadDescriptors=[units])]
    vtn.dispatch("other", 100.0, MIDNIGHT, "PT15M", programID="program-prices")
    vtn.dispatch("ours", 1_500.0, MIDNIGHT, "PT15M", payloadDescriptors=None)
    ours = Rig(nursery, vtn, tmp_path, program="heat").start()
    assert (await ours.asked(1)).power_w == 1_500_000.0
    absent = Rig(nursery, vtn, tmp_path, program="heating").start()
    await absent.until(lambda: "enrolled" in str(absent.status.view().reason))


async def test_more_events_than_one_page_are_all_read(rig: Rig, vtn: Vtn) -> None:
    for k in range(120):
        vtn.dispatch(f"e{k}", 100.0 + k, MIDNIGHT, "PT15M", priority=500 - k)
    assert (await rig.start().asked(1)).power_w == 219_000.0


async def test_an_expired_token_is_renewed_and_a_wrong_secret_is_named(rig: Rig, vtn: Vtn, nursery: trio.Nursery) -> None:
    rig.secret.write_text("wrong")
    rig.start()
    await rig.until(lambda: "client_secret_file" in str(rig.status.view().reason))
    rig.secret.write_text("right")
    await rig.until(lambda: rig.status.view().connected)
    vtn.tokens.clear()
    await rig.polled()
    assert rig.status.view().connected
    assert vtn.tokens_given == 2


async def test_a_server_that_enrols_by_hand_is_followed_too(rig: Rig, vtn: Vtn) -> None:
    vtn.may_register = False
    vtn.dispatch("e1", 1_500.0, MIDNIGHT, "PT15M")
    assert (await rig.start().asked(1)).power_w == 1_500_000.0


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"payloadDescriptors": None}, "KW"),
        ({"intervals": [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": ["1500"]}]}]}, "number"),
        ({"intervals": [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [1, 2]}]}]}, "2 values"),
        ({"intervals": [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [True]}]}]}, "number"),
        ({"intervals": [{"id": 0}]}, "payloads"),
        ({"intervals": [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [-5]}]}]}, "negative"),
        ({"intervals": [{"id": 0, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [1e7]}]}]}, "absurd"),
        ({"intervalPeriod": {"start": "tomorrow", "duration": "PT15M"}}, "no time"),
        ({"intervalPeriod": {"start": "2026-01-15T00:00:00", "duration": "PT15M"}}, "zone"),
        ({"intervalPeriod": {"start": MIDNIGHT, "duration": "P1M"}}, "months"),
        ({"intervalPeriod": {"start": MIDNIGHT}}, "duration"),
        ({"intervalPeriod": None}, "starts"),
    ],
)
async def test_a_bad_event_is_refused_with_its_reason_and_hides_no_other(
    rig: Rig, vtn: Vtn, fields: dict[str, object], word: str
) -> None:
    vtn.dispatch("bad", 1_500.0, MIDNIGHT, "PT15M", priority=0, **fields)
    rig.start()
    await rig.until(lambda: rig.status.view().refused > 0)
    assert word in str(rig.status.view().last_refusal)
    assert not rig.port.accepted
    vtn.dispatch("good", 1_000.0, MIDNIGHT, "PT15M", priority=0, modified="2026-01-15T00:02:00Z")
    assert (await rig.asked(1)).power_w == 1_000_000.0


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (500, b"oops", "500"),
        (503, b'{"title": "Service Unavailable", "detail": "maintenance"}', "maintenance"),
        (200, b"<html>", "OpenADR 3.1"),
        (200, b'{"not": "a list"}', "OpenADR 3.1"),
        (200, b"[" + b" " * 5_000_000 + b"]", "longer"),
        (302, b"http://127.0.0.1:1/", "302"),
    ],
)
async def test_a_server_in_trouble_is_named_and_the_known_event_is_followed_on(
    rig: Rig, vtn: Vtn, status: int, body: bytes, word: str
) -> None:
    two = [{"id": k, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [kw]}]} for k, kw in enumerate((1_500.0, 1_200.0))]
    vtn.dispatch("e1", 0, MIDNIGHT, "PT15M", intervals=two)
    await rig.start().asked(1)
    vtn.faults["/events"] = (status, body)
    await rig.until(lambda: word in str(rig.status.view().reason))
    rig.now = NOW + 900
    assert (await rig.asked(2)).power_w == 1_200_000.0
    vtn.faults.clear()
    await rig.until(lambda: rig.status.view().connected)
    assert rig.status.view().reconnects == 1


async def test_reports_are_made_once_and_then_brought_up_to_date(rig: Rig, vtn: Vtn) -> None:
    kinds = ["USAGE", "SETPOINT", "DEMAND", "OPERATING_STATE", "UP_REGULATION_AVAILABLE", "DATA_QUALITY", "x-unknown"]
    two = [{"id": k, "payloads": [{"type": "DISPATCH_SETPOINT", "values": [kw]}]} for k, kw in enumerate((1_500.0, 1_200.0))]
    vtn.dispatch("e1", 0, MIDNIGHT, "PT15M", intervals=two, reportDescriptors=[{"payloadType": kind} for kind in kinds])
    vtn.dispatch("silent", 100.0, MIDNIGHT, "PT15M", priority=9)
    await rig.start().asked(1)
    await rig.until(lambda: bool(vtn.reports))
    rig.port.energy_wh = 1_370_000.0
    rig.now = NOW + 900
    await rig.asked(2)
    await rig.until(lambda: len(vtn.reports["report-0"].resources[0].intervals) == 2)
    report = vtn.reports["report-0"]
    first, second = report.resources[0].intervals
    values = {payload.type: payload.values[0] for payload in first.payloads}
    assert values == {
        "USAGE": 370.0,
        "SETPOINT": 1_500.0,
        "DEMAND": 1_560.0,
        "OPERATING_STATE": "RUNNING_HEIGHTENED",
        "UP_REGULATION_AVAILABLE": 300.0,
        "DATA_QUALITY": "OK",
    }
    assert (first.id, second.id) == (0, 1)
    assert first.interval_period is not None
    assert (first.interval_period.start, first.interval_period.duration) == (MIDNIGHT, "PT900S")
    assert (report.event_id, report.client_name, len(vtn.reports)) == ("e1", "hall", 1)
    assert rig.status.view().report_age_s is not None
    vtn.reports.clear()
    await rig.until(lambda: bool(vtn.reports))
    assert rig.status.view().refused == 0


async def test_after_a_restart_the_report_of_before_is_found_and_continued(rig: Rig, vtn: Vtn, tmp_path: Path) -> None:
    for key in ("e1", "e2"):
        vtn.dispatch(key, 1_500.0, MIDNIGHT, "PT15M", reportDescriptors=[{"payloadType": "USAGE"}, {"payloadType": "DATA_QUALITY"}])
    async with trio.open_nursery() as nursery:
        before = Rig(nursery, vtn, tmp_path).start()
        await before.asked(1)
        before.port.energy_wh = 1_200_000.0
        await before.until(lambda: len(vtn.reports) == 2)
        before.now = NOW + 300
        vtn.dispatch(
            "e1", 1_400.0, MIDNIGHT, "PT15M", modified="2026-01-15T00:01:00Z", reportDescriptors=[{"payloadType": "USAGE"}]
        )
        await before.until(lambda: usage(vtn, "report-0") == 200.0)
        nursery.cancel_scope.cancel()
    rig.now = NOW + 400
    rig.port.energy_wh = 1_300_000.0
    await rig.start().asked(1)
    await rig.polled()
    rig.port.energy_wh = 1_350_000.0
    rig.now = NOW + 600
    vtn.dispatch("e1", 1_300.0, MIDNIGHT, "PT15M", modified="2026-01-15T00:02:00Z", reportDescriptors=[{"payloadType": "USAGE"}])
    await rig.until(lambda: usage(vtn, "report-0") == 250.0)
    assert sorted(vtn.reports) == ["report-0", "report-1"]
    quality = vtn.reports["report-1"].resources[0].intervals[-1].payloads[-1]
    assert (quality.type, quality.values) == ("DATA_QUALITY", ["ESTIMATED"])


async def test_an_event_that_is_over_gets_its_last_report_and_no_more(rig: Rig, vtn: Vtn) -> None:
    vtn.dispatch("e1", 1_500.0, MIDNIGHT, "PT15M", reportDescriptors=[{"payloadType": "USAGE"}])
    await rig.start().asked(1)
    await rig.until(lambda: bool(vtn.reports))
    rig.port.energy_wh = 1_370_000.0
    rig.now = NOW + 901
    vtn.dispatch("e2", 1_400.0, "2026-01-15T00:15:00Z", "PT15M")
    await rig.asked(2)
    await rig.until(lambda: usage(vtn, "report-0") == 370.0)
    await rig.polled()
    puts = vtn.requests.count("PUT /reports/report-0")
    for _ in range(5):
        await rig.polled()
    assert vtn.requests.count("PUT /reports/report-0") <= puts + 1


def usage(vtn: Vtn, key: str) -> object:
    payloads = vtn.reports[key].resources[0].intervals[-1].payloads
    return next(payload.values[0] for payload in payloads if payload.type == "USAGE")


async def test_a_report_that_was_hidden_is_found_when_its_name_is_taken(
    rig: Rig, vtn: Vtn, nursery: trio.Nursery, tmp_path: Path
) -> None:
    vtn.dispatch("e1", 1_500.0, MIDNIGHT, "PT15M", reportDescriptors=[{"payloadType": "USAGE"}])
    async with trio.open_nursery() as earlier:
        Rig(earlier, vtn, tmp_path).start()
        await rig.until(lambda: bool(vtn.reports))
        earlier.cancel_scope.cancel()
    posts = vtn.requests.count("POST /reports")
    vtn.faults["/reports"] = (403, b"{}")
    rig.start()
    await rig.until(lambda: vtn.requests.count("POST /reports") > posts)
    await rig.until(lambda: rig.status.view().last_refusal is not None)
    del vtn.faults["/reports"]
    await rig.until(lambda: "PUT /reports/report-0" in vtn.requests[-1])
    assert len(vtn.reports) == 1


async def test_a_server_that_shows_no_end_nodes_is_followed_too(rig: Rig, vtn: Vtn) -> None:
    vtn.faults["/vens"] = (403, b"{}")
    vtn.dispatch("e1", 1_500.0, MIDNIGHT, "PT15M")
    await rig.start().asked(1)
    assert rig.status.view().connected
