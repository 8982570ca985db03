"""Metrics: every name in one place, every value the view's, and unknown values absent."""

import re
from pathlib import Path

import msgspec
import trio
from prometheus_client.parser import text_string_to_metric_families

from proxy.telemetry.metrics import (
    LOOP_SERIES,
    METER_SERIES,
    POOL_SERIES,
    PROOF_SERIES,
    SETTLEMENT_SERIES,
    SIGNAL_SERIES,
    SITE_SERIES,
    UNIT_SERIES,
    WEB_SERIES,
    WebMetrics,
    reference,
)
from proxy.telemetry.series import LABEL_LIMIT, PREFIX
from proxy.views import HoldView, MeterView, SiteView, UnitView
from proxy.web.context import WebContext
from proxy.web.exposition import KEEP_S, render
from tests.proxy.web.fake_site import FakeSite, api_table
from tests.proxy.web.serving import Clock, local_client

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(view: SiteView, units: list[UnitView]) -> Samples:
    text = render(view, units, WebMetrics()).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((PREFIX + name, frozenset(labels.items())))


LEARNED = {
    "heat_supply_asked_celsius": 78.0,
    "heat_outdoor_celsius": -8.5,
    "heat_efficiency_ratio": 0.94,
    "heat_plant_lag_seconds": 410.0,
    "heat_disturbance_watts": -2e4,
    "heat_lead_watts": 3e4,
    "heat_changes_per_unit_day": 4.5,
}


def test_values_are_those_of_the_view() -> None:
    site = FakeSite(Clock())
    site.alarms = ("loop a is asleep", "two senders")
    view, units = site.view(), site.units()
    heat = msgspec.structs.replace(
        view.heat,
        **{"supply_asked_c": 78.0, "outdoor_c": -8.5, "efficiency": 0.94, "plant_tau_s": 410.0},
        **{"disturbance_w": -2e4, "lead_w": 3e4, "changes_per_unit_day": 4.5},
        holds=(HoldView("stop", "plc", 0.0, 1.0, None), HoldView("stop", "rest", 0.0, 1.0, None)),
    )
    view = msgspec.structs.replace(view, heat=heat)
    samples = scrape(view, units)
    assert value(samples, "heat_demand_watts") == view.heat.demand_w
    assert value(samples, "heat_delivered_watts") == view.heat.heat_w
    assert value(samples, "heat_alarms") == 2
    assert [value(samples, "heat_holds", kind=kind) for kind in ("stop", "import limit")] == [2, 0]
    for name, known in LEARNED.items():
        assert value(samples, name) == known
    assert value(samples, "power_setpoint_watts") == view.heat.setpoint_power_w
    assert value(samples, "shares_accepted_total") == view.shares.accepted
    assert value(samples, "shares_rejected_total", verdict="stale") == view.shares.rejected["stale"]
    assert value(samples, "shares_conservation_delta") == 0
    assert value(samples, "heat_ladder_state", state="LIVE") == 1
    assert value(samples, "heat_ladder_state", state="STOP") == 0
    assert value(samples, "pool_state", pool="reserve", state="down") == 1
    assert value(samples, "ledger_state", state="ok") == 1
    assert value(samples, "units", state="FAULT") == 2
    first = units[0]
    assert value(samples, "unit_power_watts", loop=first.loop, unit=first.id) == first.power_w
    assert (
        value(samples, "unit_hashrate_hashes_per_second", loop=first.loop, unit=first.id, source="shares")
        == first.hashrate_shares_hps
    )


def test_unknown_gives_no_sample_and_never_zero() -> None:
    site = FakeSite(Clock())
    site.has_meter = False
    samples = scrape(site.view(), site.units())
    assert value(samples, "heat_delivered_watts") is None
    assert value(samples, "heat_tracking_error_ratio") is None
    assert value(samples, "unit_power_watts", loop="loop-2", unit="loop-2-r1-s01") is None
    assert value(samples, "heat_quality", quality="unknown") == 1


def test_without_units_there_is_no_series_of_a_unit() -> None:
    assert not any(name.startswith(f"{PREFIX}unit_") for name, _ in scrape(FakeSite(Clock()).view(), []))


def test_codes_of_a_hostile_pool_stay_bounded_and_printable() -> None:
    view = FakeSite(Clock()).view()
    refused = {f'"}}\n evil {n}' + "x" * 200: n + 1 for n in range(500)}
    view = msgspec.structs.replace(view, shares=msgspec.structs.replace(view.shares, refused=refused))
    codes = {
        dict(labels)["code"]: count
        for (name, labels), count in scrape(view, []).items()
        if name.endswith("_shares_refused_total") and len(labels) == 1
    }
    assert len(codes) == LABEL_LIMIT + 1
    assert sum(codes.values()) == sum(refused.values())
    assert all(len(code) <= 64 and code.isprintable() for code in codes)


TABLES = (SITE_SERIES, POOL_SERIES, SIGNAL_SERIES, LOOP_SERIES, METER_SERIES, SETTLEMENT_SERIES, PROOF_SERIES, UNIT_SERIES)


def test_names_follow_the_house_rule() -> None:
    names = [series.name for table in TABLES for series in table] + [name for name, *_ in WEB_SERIES]
    assert len(names) == len(set(names))
    for table in TABLES:
        for series in table:
            assert re.fullmatch(r"[a-z][a-z0-9_]+", series.name)
            assert (series.kind == "counter") == series.name.endswith("_total"), series.name
            assert series.help.endswith(".")


def test_every_scraped_name_is_in_the_tables() -> None:
    known = {PREFIX + series.name for table in TABLES for series in table} | {PREFIX + name for name, *_ in WEB_SERIES}
    seen = {name for name, _ in scrape(FakeSite(Clock()).view(), FakeSite(Clock()).units()) if name.startswith(PREFIX)}
    assert {name for name in seen if not name.endswith("_created")} <= known


def test_the_reference_page_is_up_to_date() -> None:
    page = Path("docs/reference/metrics.md").read_text()
    assert reference() in page, f"docs/reference/metrics.md lacks this table:\n{reference()}"


async def test_many_scrapers_cost_one_rendering_in_five_seconds(autojump_clock: trio.testing.MockClock) -> None:
    clock = Clock()
    web = WebContext(FakeSite(clock))
    first = await web.exposition.text()
    clock.now_unix_s += 2
    assert await web.exposition.text() is first
    await trio.sleep(KEEP_S)
    assert await web.exposition.text() != first


async def test_series_of_units_can_be_switched_off() -> None:
    async with local_client(WebContext(FakeSite(Clock(), api_table(unit_metrics=False)))) as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert f"{PREFIX}unit_" not in answer.text
    assert f"{PREFIX}heat_demand_watts" in answer.text
    assert "process_resident_memory_bytes" in answer.text


def test_meters_have_series_of_their_own_and_unknown_values_none() -> None:
    meter = MeterView(
        name="m-a",
        place="a",
        measures="heat",
        protocol="mbus",
        state="stuck",
        reason="no number has moved for 16 min",
        is_used=False,
        age_s=20.0,
        power_w=1_000.0,
        supply_c=None,
        return_c=45.0,
        flow_l_per_min=None,
        energy_wh=7_000.0,
        readings=90,
        refused=3,
        failures=1,
    )
    samples = scrape(msgspec.structs.replace(FakeSite(Clock()).view(), meters=[meter]), [])
    labels = {"place": "a", "meter": "m-a", "measures": "heat"}
    assert value(samples, "meter_state", **labels, state="stuck") == 1
    assert value(samples, "meter_state", **labels, state="ok") == 0
    assert value(samples, "meter_power_watts", **labels) == 1_000.0
    assert value(samples, "meter_supply_celsius", **labels) is None
    assert value(samples, "meter_readings_refused_total", **labels) == 3
    known = {PREFIX + series.name for series in METER_SERIES}
    assert {name for name, names in samples if dict(names).get("meter") == "m-a"} == known - {
        f"{PREFIX}meter_supply_celsius",
        f"{PREFIX}meter_flow_liters_per_minute",
    }
