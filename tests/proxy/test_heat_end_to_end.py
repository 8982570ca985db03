"""A heat demand over HTTP, until the machines have changed what they do; and demands, people and machines not to be trusted."""

import datetime
from pathlib import Path

import httpx
import pytest
import trio
from trio.testing import MockClock

from proxy.units.unit import UnitState
from tests.support.hall import EFFICIENCY, FULL_W, LOW_W, START_UNIX_S, Hall, hall

UNITS = 4
CAPACITY_KW = UNITS * FULL_W * EFFICIENCY / 1_000


def refused(response: httpx.Response, status: int, words: str) -> None:
    """It was not taken, and says why and what to do."""
    problem = response.json()
    assert response.status_code == status, problem
    assert words in problem["detail"], problem
    assert problem["remedy"]


async def audit(it: Hall, count: int) -> list[tuple[str, str, str, str]]:
    """The last `count` rows."""
    return (await it.audited())[-count:]


# -- a demand becomes heat


async def test_power_follows_a_demand_and_what_is_delivered_follows_power(tmp_path: Path, mock_clock: MockClock) -> None:
    async with hall(tmp_path, mock_clock, units=UNITS) as it:
        answer = (await it.demand(UNITS * LOW_W)).json()
        assert answer["state"] == "live"
        assert answer["source"] == "utility"
        await it.until(lambda: it.is_near(UNITS * LOW_W))
        await it.until(lambda: it.states() == {"RUN"})
        await it.let_pass(10)
        heat = it.app.site.view().heat
        assert heat.ladder == "LIVE"
        assert heat.heat_w == pytest.approx(UNITS * LOW_W * EFFICIENCY, rel=0.02)
        assert heat.tracking_error == pytest.approx(0.0, abs=0.02)
        assert heat.limiter is None
        assert (heat.cause, heat.stale_s) == ("demand valid", 0.0)
        # Who asked, and the loop that does it, stand beside it.
        site = it.app.site.view()
        assert [(signal.name, signal.source, signal.asked_w, signal.connected) for signal in site.signals] == [
            ("rest", "utility", heat.demand_w, True)
        ]
        assert sum(loop.drawn_w or 0.0 for loop in site.loops) == pytest.approx(UNITS * LOW_W, rel=0.02)
        assert site.settlement is not None
        assert site.alarms == []
        # A meter is believed before an estimate.
        reading = {"at_unix_s": START_UNIX_S + trio.current_time(), "heat_w": 12_000.0, "supply_c": 65.0, "return_c": 45.0}
        assert (await it.put("/api/v1/heat/meter", reading, "utility")).status_code == 200
        await it.let_pass(6)
        heat = it.app.site.view().heat
        assert (heat.heat_w, heat.heat_quality, heat.supply_c) == (12_000.0, "measured", 65.0)
        # All off, and on again.
        await it.demand(0)
        await it.until(lambda: it.states() == {"SLEEPING"})
        await it.demand(UNITS * FULL_W)
        await it.until(lambda: it.is_near(UNITS * FULL_W))


async def test_a_demand_that_ends_is_held_and_then_given_up_in_steps(tmp_path: Path, mock_clock: MockClock) -> None:
    ladder = {"hold_after_s": 20, "fallback_after_s": 60, "limit_after_s": 120, "fallback_power_w": 2 * LOW_W, "limit_power_w": 0}
    async with hall(tmp_path, mock_clock, units=2, heat=ladder) as it:
        await it.demand(2 * FULL_W, validity_s=30)
        seen: dict[str, float] = {}

        def note() -> bool:
            seen.setdefault(it.app.site.view().heat.ladder, it.power_w)
            return it.states() == {"SLEEPING"}

        await it.let_pass(10)
        await it.until(note)
        assert list(seen) == ["LIVE", "HOLD", "FALLBACK", "LIMIT"]
        assert seen["FALLBACK"] == pytest.approx(2 * FULL_W, rel=0.02)
        assert seen["LIMIT"] == pytest.approx(2 * LOW_W, rel=0.02)


# -- demands that are refused


def moment(offset_s: float) -> str:
    """A time of the demand's wall clock, in words."""
    return datetime.datetime.fromtimestamp(START_UNIX_S + trio.current_time() + offset_s, datetime.UTC).isoformat()


async def test_every_demand_that_makes_no_sense_is_refused_audited_and_changes_nothing(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with hall(tmp_path, mock_clock, units=UNITS) as it:
        await it.demand(UNITS * FULL_W, sequence=100)
        await it.let_pass(10)
        before, writes = it.app.site.view().heat, it.writes()
        good = {"sequence": 101, "power_kw": 5.0, "validity_s": 600}
        cases: list[tuple[object, int, str]] = [
            (b'{"sequence":101,"power_kw":NaN,"validity_s":600}', 400, "NaN"),
            (b'{"sequence":101,"power_kw":Infinity,"validity_s":600}', 400, "Infinity"),
            (b'{"sequence":101,"power_kw":1e999,"validity_s":600}', 400, "does not fit"),
            (b'{"sequence":101,"power_kw":5,"power_kw":6,"validity_s":600}', 400, "twice"),
            (b"not json", 400, "not JSON"),
            ({**good, "power_kw": "5"}, 400, "does not fit"),
            ({**good, "power": 5.0}, 400, "does not fit"),
            ({**good, "power_kw": -0.1}, 422, "negative"),
            ({**good, "power_kw": CAPACITY_KW * 1_000}, 422, "absurd"),
            ({**good, "validity_s": 0}, 422, "before it begins"),
            ({**good, "validity_s": 1e7}, 422, "too long"),
            ({"sequence": 101, "power_kw": 5.0}, 422, "must end"),
            ({"sequence": 101, "power_kw": 5.0, "valid_from": moment(-600), "valid_until": moment(-300)}, 422, "expired"),
            ({**good, "issued_at": moment(3_600)}, 422, "in the future"),
            ({**good, "sequence": 100}, 409, "already used"),
            ({**good, "sequence": 99}, 409, "older"),
            ({**good, "sequence": -1}, 409, "older"),
            ({**good, "source": "somebody-else"}, 409, "another source rules"),
            ({**good, "source": "two\nlines"}, 422, "not a name"),
        ]
        for body, status, words in cases:
            refused(await it.put("/api/v1/heat/demand", body, "utility"), status, words)
        rows = await audit(it, len(cases))
        assert {(actor, action) for actor, action, _, _ in rows} == {("utility", "heat.demand")}
        for (_, _, words), (_, _, _, result) in zip(cases, rows, strict=True):
            assert words in result
        await it.let_pass(30)
        after = it.app.site.view().heat
        assert (after.demand_w, after.setpoint_power_w, after.ladder) == (before.demand_w, before.setpoint_power_w, "LIVE")
        assert it.writes() == writes
        assert it.is_near(UNITS * FULL_W)
        # And who sends the right thing next is taken.
        assert (await it.put("/api/v1/heat/demand", good, "utility")).status_code == 200


async def test_a_repeat_is_answered_as_before_and_an_order_that_was_turned_round_is_refused(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with hall(tmp_path, mock_clock, units=1) as it:
        first = {"sequence": 5, "power_kw": 7.0, "validity_s": 600}
        answer = await it.put("/api/v1/heat/demand", first, "utility")
        await it.let_pass(30)
        again = await it.put("/api/v1/heat/demand", first, "utility")
        assert again.json() == answer.json()
        later = {"sequence": 7, "power_kw": 3.0, "validity_s": 600}
        assert (await it.put("/api/v1/heat/demand", later, "utility")).status_code == 200
        overtaken = await it.put("/api/v1/heat/demand", {**later, "sequence": 6}, "utility")
        refused(overtaken, 409, "older")
        assert overtaken.json()["last_sequence"] == 7
        # Even the honest first one: its time is over.
        refused(await it.put("/api/v1/heat/demand", first, "utility"), 409, "older")


@pytest.mark.parametrize(
    ("key", "status", "row"),
    [
        ("forged", 401, ("stranger at 127.0.0.1", "api.refused", "/api/v1/heat/demand", "unknown key")),
        ("viewer", 403, ("viewer", "api.forbidden", "/api/v1/heat/demand", "its role does not allow it")),
    ],
)
async def test_a_forged_key_and_a_wrong_role_are_refused_and_audited(
    tmp_path: Path, mock_clock: MockClock, key: str, status: int, row: tuple[str, str, str, str]
) -> None:
    async with hall(tmp_path, mock_clock, units=1) as it:
        response = await it.put("/api/v1/heat/demand", {"sequence": 1, "power_kw": 1.0, "validity_s": 600}, key)
        assert response.status_code == status
        assert response.json()["remedy"]
        assert (await audit(it, 1)) == [row]
        assert it.app.site.view().heat.source is None
        refused(await it.put("/api/v1/heat/demand", {}, None), 401, "needs an API key")


async def test_a_utility_may_ask_for_heat_and_nothing_else(tmp_path: Path, mock_clock: MockClock) -> None:
    async with hall(tmp_path, mock_clock, units=1) as it:
        for path, body in (
            ("/api/v1/heat/limit", {"power_w": 0}),
            ("/api/v1/units/U0/level", {"level": 0}),
            ("/api/v1/units/U0/service", {"in_service": True, "note": ""}),
        ):
            refused(await it.put(path, body, "utility"), 403, "role utility")
        assert [action for _, action, _, _ in await audit(it, 3)] == ["api.forbidden"] * 3
        assert not it.devices["U0"].writes


# -- operators


async def test_a_unit_taken_out_is_left_alone_and_the_others_take_its_heat_and_give_it_back(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with hall(tmp_path, mock_clock, units=UNITS) as it:
        wanted_w = FULL_W + 3 * LOW_W
        await it.demand(wanted_w)
        await it.until(lambda: it.is_near(wanted_w))
        out = max(it.devices, key=lambda unit: it.devices[unit].power_w)
        service = f"/api/v1/units/{out}/service"
        assert (await it.put(service, {"in_service": True, "note": "hose"})).status_code == 200
        # Somebody stops the machine at its own panel.
        machine = it.devices[out]
        machine.fall_asleep(None)
        writes = len(machine.writes)
        others = [device for device in it.devices.values() if device is not machine]
        await it.until(lambda: sum(device.power_w for device in others) > 0.9 * wanted_w)
        refused(await it.put(f"/api/v1/units/{out}/level", {"level": 1}), 409, "service")
        assert it.unit(out).state == "SERVICE"
        assert len(machine.writes) == writes
        assert (await it.put(service, {"in_service": False, "note": "done"})).status_code == 200
        await it.demand(UNITS * FULL_W)
        await it.until(lambda: it.is_near(UNITS * FULL_W))
        actions = [(action, result) for _, action, subject, result in await it.audited() if subject == out]
        assert [action for action, _ in actions] == ["unit.service", "unit.level", "unit.service"]


async def test_a_command_by_hand_goes_through_safety(tmp_path: Path, mock_clock: MockClock) -> None:
    async with hall(tmp_path, mock_clock, units=2, heat={"max_power_w": FULL_W + LOW_W}) as it:
        await it.until(lambda: it.is_near(FULL_W + LOW_W))
        low = next(unit for unit, device in it.devices.items() if device.power_w < (FULL_W + LOW_W) / 2)
        await it.let_pass(30)
        refused(await it.put(f"/api/v1/units/{low}/level", {"level": 2}), 409, "safety")
        assert (await it.put(f"/api/v1/units/{low}/level", {"level": 0})).status_code == 202
        await it.until(lambda: it.unit(low).state == "SLEEPING")


async def test_an_operators_limit_rules_at_once_and_stop_means_everybody(tmp_path: Path, mock_clock: MockClock) -> None:
    async with hall(tmp_path, mock_clock, units=UNITS) as it:
        await it.demand(UNITS * FULL_W)
        await it.let_pass(10)
        assert (await it.put("/api/v1/heat/limit", {"power_w": UNITS * LOW_W})).status_code == 200
        await it.until(lambda: it.power_w < 1.01 * UNITS * LOW_W)
        assert it.app.site.view().heat.limiter == "manual limit"
        await it.put("/api/v1/heat/limit", {"power_w": 0})
        await it.until(lambda: it.states() == {"SLEEPING"})
        assert it.app.site.view().heat.ladder == "STOP"
        # A demand does not overrule a stop.
        await it.demand(UNITS * FULL_W)
        await it.let_pass(60)
        assert it.states() == {"SLEEPING"}
        await it.put("/api/v1/heat/limit", {"power_w": None})
        await it.until(lambda: it.is_near(UNITS * FULL_W))


# -- machines


@pytest.mark.parametrize("nonsense", ["not_json", "half", "nan", "negative", "absurd", "empty"])
async def test_a_machine_that_answers_nonsense_is_not_believed_and_the_others_carry_on(
    tmp_path: Path, mock_clock: MockClock, nonsense: str
) -> None:
    async with hall(tmp_path, mock_clock, units=UNITS) as it:
        await it.demand(UNITS * LOW_W)
        await it.until(lambda: it.is_near(UNITS * LOW_W) and it.states() == {"RUN"})
        it.devices["U1"].faults.nonsense = nonsense  # type: ignore[assignment]
        await it.let_pass(60)
        heat = it.app.site.view().heat
        # Whatever it says, nobody is commanded to make up for megawatts that it does not draw.
        assert it.power_w == pytest.approx(UNITS * LOW_W, rel=0.45)
        assert heat.measured_power_w is None or heat.measured_power_w < UNITS * FULL_W
        it.devices["U1"].faults.nonsense = None
        await it.until(lambda: it.is_near(UNITS * LOW_W) and it.states() == {"RUN"})


async def test_the_heat_of_a_machine_that_dies_is_made_by_the_others_until_it_is_back(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with hall(tmp_path, mock_clock, units=UNITS) as it:
        wanted_w = UNITS * LOW_W
        await it.demand(wanted_w)
        await it.until(lambda: it.is_near(wanted_w) and it.states() == {"RUN"})
        dead = it.devices["U2"]
        dead.faults.is_gone = True
        dead.fall_asleep(None)
        await it.until(lambda: it.unit("U2").state == UnitState.OFFLINE.name)
        living = [device for unit, device in it.devices.items() if unit != "U2"]
        await it.until(lambda: sum(device.power_w for device in living) > 0.9 * wanted_w)
        dead.faults.is_gone = False
        dead.reboot()
        await it.until(lambda: it.is_near(wanted_w) and it.states() == {"RUN"})


async def test_another_machine_in_a_units_place_is_not_commanded_before_somebody_says_so(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    async with hall(tmp_path, mock_clock, units=2) as it:
        await it.demand(2 * FULL_W)
        await it.let_pass(10)
        it.devices["U0"].serial = "0201ffffffffffff"
        await it.until(lambda: it.unit("U0").state == "LOCKED_OUT")
        await it.demand(0)
        await it.until(lambda: it.unit("U1").state == "SLEEPING")
        await it.let_pass(60)
        assert not it.devices["U0"].writes
        response = await it.client.post("/api/v1/units/U0/accept-serial", headers={"Authorization": "Bearer operator-key"})
        assert response.status_code == 200
        await it.until(lambda: it.states() == {"SLEEPING"})
