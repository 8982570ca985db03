"""A schedule is taken whole or not at all, followed block by block, and known again after a restart."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat import arbitrate, schedule
from proxy.heat.demand import DemandBook, DemandRefused, Envelope, HeatDemand
from proxy.heat.schedule import ScheduleAccepted
from proxy.heat.signals.schedules import MAX_BLOCKS, decode_schedule

Make = Callable[..., Any]
NOW = 1_768_435_200.0
ENVELOPE = Envelope(capacity_w=2e6, max_validity_s=86_400.0, max_clock_skew_s=60.0, max_step=1.0)


def decoded(now_unix_s: float = NOW, **fields: object) -> list[HeatDemand]:
    body: dict[str, object] = {"sequence": 1, "start": NOW, "power_kw": [1000, 1100, 1200], **fields}
    answer = decode_schedule(msgspec.json.encode(body), "utility", now_unix_s)
    assert isinstance(answer, list), answer
    return answer


def take(docket: arbitrate.Docket, book: DemandBook, blocks: list[HeatDemand], now_unix_s: float = NOW) -> Any:
    return schedule.take(docket, book, ENVELOPE, blocks, arbitrate.in_force(docket, now_unix_s), now_unix_s)


def asked(docket: arbitrate.Docket, unix_s: float) -> float | None:
    ruling = arbitrate.ruling_at(docket, unix_s)
    return None if ruling is None else ruling.power_w


@given(st.lists(st.floats(0, 2_000), min_size=1, max_size=96), st.floats(60, 900))
def test_each_moment_of_a_schedule_has_the_heat_of_its_block(powers_kw, step_s):
    docket = arbitrate.Docket()
    assert isinstance(take(docket, DemandBook(), decoded(power_kw=powers_kw, step_s=step_s)), ScheduleAccepted)
    for k, power_kw in enumerate(powers_kw):
        assert asked(docket, NOW + (k + 0.5) * step_s) == power_kw * 1000
    assert asked(docket, NOW + len(powers_kw) * step_s + 1) is None


@given(st.integers(0, 9), st.sampled_from([-1.0, 1e9, 5e6]))
def test_one_wrong_block_refuses_all_of_them_and_is_named(wrong, power_kw):
    docket, book = arbitrate.Docket(), DemandBook()
    powers_kw = [1000.0] * 10
    powers_kw[wrong] = power_kw
    answer = take(docket, book, decoded(power_kw=powers_kw))
    assert isinstance(answer, DemandRefused)
    assert answer.reason.startswith(f"block {wrong + 1} of 10: ")
    assert docket.waiting == []
    assert isinstance(take(docket, book, decoded()), ScheduleAccepted)


def test_blocks_that_are_over_have_no_effect_and_a_schedule_of_such_is_refused():
    docket = arbitrate.Docket()
    assert take(docket, DemandBook(), decoded(), NOW + 1_000).blocks == 3
    assert [demand.power_w for demand in docket.waiting] == [1.1e6, 1.2e6]
    late = take(arbitrate.Docket(), DemandBook(), decoded(), NOW + 10_000)
    assert "block 3 of 3: the demand expired" in late.reason


def test_a_newer_schedule_takes_the_place_of_the_older_wherever_it_reaches():
    docket, book = arbitrate.Docket(), DemandBook()
    for sequence in range(1, 20):
        assert isinstance(take(docket, book, decoded(sequence=sequence, power_kw=[1000 + sequence] * 96)), ScheduleAccepted)
    assert len(docket.waiting) == 96
    take(docket, book, decoded(sequence=20, start=NOW + 900, power_kw=[500]))
    assert [asked(docket, NOW + 450 + k * 900) for k in range(3)] == [1.019e6, 0.5e6, 1.019e6]


def test_more_blocks_than_may_wait_change_nothing():
    docket, book = arbitrate.Docket(), DemandBook()
    take(docket, book, decoded(step_s=60, power_kw=[1000] * 100))
    answer = take(docket, book, decoded(sequence=2, start=NOW + 6_000, step_s=60, power_kw=[1000] * 100))
    assert answer.code == 429
    assert len(docket.waiting) == 100


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"power_kw": []}, "no blocks"),
        ({"power_kw": None}, "no blocks"),
        ({"supply_c": [70]}, "not of one length"),
        ({"power_kw": [1] * (MAX_BLOCKS + 1)}, "193 blocks"),
        ({"step_s": 5}, "5 s is out of range"),
        ({"source": "a b"}, "not a name"),
        ({"start": 1_768_435_200_000}, "does not fit"),
        ({"start": "2026-01-15T07:00:00"}, "does not fit"),
        ({"power_kw": [1, None]}, "does not fit"),
        ({"power_w": [1]}, "does not fit"),
        ({"source": "x" * 20_000}, "bytes long"),
    ],
)
def test_a_body_that_is_no_schedule_says_why(fields, says):
    body = {"sequence": 1, "start": NOW, "power_kw": [1000, 1100], **fields}
    answer = decode_schedule(msgspec.json.encode(body), "utility", NOW)
    assert isinstance(answer, DemandRefused)
    assert says in answer.reason
    assert answer.remedy


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_fail(body):
    assert isinstance(decode_schedule(body, "utility", NOW), DemandRefused)


def test_the_plant_follows_block_after_block_and_a_repeat_is_answered_again(rig: Make) -> None:
    site = rig(60)
    body = {"sequence": 7, "start": site.wall(), "power_kw": [300, 400, 350]}
    blocks = decode_schedule(msgspec.json.encode(body), "utility", site.wall())
    first = site.control.submit_schedule(blocks, site.wall())
    for asked_w in (300e3, 400e3, 350e3):
        site.run(600)
        assert site.control.view().demand_w == asked_w
        again = decode_schedule(msgspec.json.encode(body), "utility", site.wall())
        assert site.control.submit_schedule(again, site.wall()) == first
        site.run(300)
    assert len(site.ledger.demands) == 3
    changed = decode_schedule(msgspec.json.encode({**body, "power_kw": [1]}), "utility", site.wall())
    assert site.control.submit_schedule(changed, site.wall()).code == 409


def test_a_restart_takes_the_schedule_up_where_it_is(rig: Make) -> None:
    site = rig(60)
    body = {"sequence": 7, "start": site.wall(), "power_kw": [300, 400, 350]}
    site.control.submit_schedule(decode_schedule(msgspec.json.encode(body), "utility", site.wall()), site.wall())
    site.run(1_000)
    site.restart()
    site.run(400)
    assert (site.control.view().ladder, site.control.view().demand_w) == ("LIVE", 400e3)
    site.run(600)
    assert site.control.view().demand_w == 350e3
    site.run(1_000)
    assert site.control.view().ladder == "HOLD"


def test_a_second_sender_gets_no_schedule_in_and_is_told_of(rig: Make) -> None:
    site = rig(10)
    site.ask(50_000.0)
    blocks = decode_schedule(msgspec.json.encode({"sequence": 1, "start": site.wall(), "power_kw": [50]}), "other", site.wall())
    answer = site.control.submit_schedule(blocks, site.wall())
    assert "another source rules" in answer.reason
    site.run(40)
    assert any("other sends demands" in line for line in site.control.alarms())
