"""The town's load: within bounds at every hour and weather, smooth, and the same for the same seed."""

import itertools
import json
import random
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from proxy.sim.plant import MeterSample
from proxy.sim.site_client import SiteClient
from proxy.sim.utility import LoadCurve, Utility, UtilitySpec, Weather

CURVE = LoadCurve(capacity_w=1_730_000.0)


@given(st.floats(0.0, 48.0), st.floats(-30.0, 60.0))
def test_demand_stays_between_the_summer_part_and_capacity(hour: float, weather_k: float) -> None:
    assert 0.92 * CURVE.least_part * CURVE.capacity_w <= CURVE.demand_w(hour, weather_k) <= CURVE.capacity_w


@given(st.floats(0.0, 24.0), st.floats(-5.0, 5.0))
def test_warmer_weather_never_asks_for_more_heat(hour: float, weather_k: float) -> None:
    assert CURVE.demand_w(hour, weather_k + 1.0) <= CURVE.demand_w(hour, weather_k)


def test_a_winter_day_swings_over_the_range_of_the_fleet() -> None:
    parts = [CURVE.demand_w(quarter / 4.0) / CURVE.capacity_w for quarter in range(96)]
    assert 0.30 < min(parts) < 0.40
    assert max(parts) > 0.85
    assert max(abs(b - a) for a, b in itertools.pairwise(parts)) < 0.05


def test_the_day_closes_without_a_jump() -> None:
    assert CURVE.demand_w(0.0) == pytest.approx(CURVE.demand_w(24.0))
    assert CURVE.demand_w(23.999) == pytest.approx(CURVE.demand_w(0.001), rel=1e-3)


def test_weather_is_repeatable_and_bounded() -> None:
    first, second = Weather(random.Random(3)), Weather(random.Random(3))
    values = [first.step() for _ in range(500)]
    assert values == [second.step() for _ in range(500)]
    assert max(map(abs, values)) <= 1.5


class Door:
    """The product's HTTP side: keeps what came, answers as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.statuses: list[int] = []
        self.is_down = False

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.is_down:
            raise httpx.ConnectError("nobody there")
        self.requests.append((request.method, request.url.path, json.loads(request.content or b"null")))
        status = self.statuses.pop(0) if self.statuses else 200
        return httpx.Response(status, json={"reason": "no"} if status >= 400 else {})


@pytest.fixture
def door() -> Door:
    return Door()


def utility(door: Door, **facts: float) -> Utility:
    spec = UtilitySpec(**{"start_hour": 6.0, "time_scale": 60.0, "setpoint_s": 15.0, "meter_s": 1.0, "validity_s": 60.0, **facts})
    client = SiteClient("http://site", "key", httpx.MockTransport(door))
    sample = MeterSample(1e6, 75.0, 45.0, 12.0)
    return Utility(spec, client, CURVE, lambda: sample, random.Random(4), lambda: 1_700_000_000.0 + trio.current_time())


async def test_a_set_point_goes_out_each_period_with_a_rising_sequence(
    autojump_clock: Any, nursery: trio.Nursery, door: Door
) -> None:
    town = utility(door)
    nursery.start_soon(town.run_demand)
    await trio.sleep(61)
    bodies = [body for method, path, body in door.requests if (method, path) == ("PUT", "/api/v1/heat/demand")]
    assert [body["sequence"] for body in bodies] == [1, 2, 3, 4, 5]
    assert {body["epoch"] for body in bodies} == {bodies[0]["epoch"]}
    assert all(0 < body["power_kw"] <= CURVE.capacity_w / 1_000 and body["validity_s"] == 60.0 for body in bodies)
    assert len({body["power_kw"] for body in bodies}) == 5
    assert town.demand_w == pytest.approx(bodies[-1]["power_kw"] * 1_000, abs=1.0)
    assert town.hour() == pytest.approx(7.0, abs=0.05)


async def test_a_refused_demand_is_sent_again_and_the_refusal_kept(autojump_clock: Any, nursery: trio.Nursery, door: Door) -> None:
    door.statuses = [503, 422]
    town = utility(door)
    nursery.start_soon(town.run_demand)
    await trio.sleep(10)
    assert [body["sequence"] for _, _, body in door.requests] == [1, 2, 3]
    assert len({body["power_kw"] for _, _, body in door.requests}) == 1
    assert town.refused == 2
    assert [text[:3] for text in town.refusals] == ["503", "422"]


async def test_a_dead_site_is_tried_until_the_next_set_point_is_due(autojump_clock: Any, nursery: trio.Nursery, door: Door) -> None:
    door.is_down = True
    town = utility(door)
    nursery.start_soon(town.run_demand)
    await trio.sleep(20)
    assert town.demand_w is None
    assert town.refused >= 15
    door.is_down = False
    await trio.sleep(2)
    assert town.demand_w is not None


async def test_meter_readings_go_on_whatever_is_answered(autojump_clock: Any, nursery: trio.Nursery, door: Door) -> None:
    door.statuses = [500]
    town = utility(door)
    nursery.start_soon(town.run_meter)
    await trio.sleep(5.5)
    assert [path for _, path, _ in door.requests] == ["/api/v1/heat/meter"] * 6
    assert door.requests[0][2] == {
        "at_unix_s": 1_700_000_000.0,
        "heat_w": 1e6,
        "supply_c": 75.0,
        "return_c": 45.0,
        "energy_wh": 12.0,
    }
    assert len(town.meter_refusals) == 1
