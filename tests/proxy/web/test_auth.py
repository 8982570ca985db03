"""Who may do what: the whole matrix of roles, routes and methods, generated from one table that must name every route."""

import pytest

from proxy.web.auth import ADDRESSES, TRIES, WINDOW_S, Access, GuessLimit, find_actor
from proxy.web.context import WebContext
from proxy.web.server import build_app
from tests.proxy.web.fake_site import KEYS, FakeSite, api_table
from tests.proxy.web.serving import Clock, bearer, local_client

UNIT = "/api/v1/units/loop-1-r1-s01"
DEMAND = '{"sequence": 99, "power_kw": 1000, "validity_s": 900}'
SCHEDULE = '{"sequence": 99, "start": 1790000000, "power_kw": [1000, 1100]}'
METER = '{"at_unix_s": 1790000000, "heat_w": 1000}'

# (method, path of the route, path to call, body): access
RELEASE = '{"source": "modbus 10.0.0.5", "name": "Anna Meier", "reason": "PLC replaced"}'
ROUTES: dict[tuple[str, str, str, str], Access] = {
    ("GET", "/", "/", ""): Access.OPEN,
    ("GET", "/static/{path:path}", "/static/app.js", ""): Access.OPEN,
    ("GET", "/healthz", "/healthz", ""): Access.OPEN,
    ("GET", "/readyz", "/readyz", ""): Access.OPEN,
    ("GET", "/schema", "/schema", ""): Access.OPEN,
    ("GET", "/schema/openapi.json", "/schema/openapi.json", ""): Access.OPEN,
    ("GET", "/api/v1/status", "/api/v1/status", ""): Access.READ,
    ("GET", "/api/v1/heat", "/api/v1/heat", ""): Access.READ,
    ("GET", "/api/v1/meters", "/api/v1/meters", ""): Access.READ,
    ("GET", "/api/v1/pools", "/api/v1/pools", ""): Access.READ,
    ("GET", "/api/v1/units", "/api/v1/units", ""): Access.READ,
    ("GET", "/api/v1/units/{unit_id:str}", UNIT, ""): Access.READ,
    ("GET", "/api/v1/events", "/api/v1/events", ""): Access.READ,
    ("GET", "/api/v1/history", "/api/v1/history", ""): Access.READ,
    ("GET", "/metrics", "/metrics", ""): Access.READ,
    ("GET", "/events", "/events", ""): Access.READ,
    ("PUT", "/api/v1/heat/demand", "/api/v1/heat/demand", DEMAND): Access.DEMAND,
    ("PUT", "/api/v1/heat/schedule", "/api/v1/heat/schedule", SCHEDULE): Access.DEMAND,
    ("PUT", "/api/v1/heat/outdoor", "/api/v1/heat/outdoor", '{"outdoor_c": -8.5}'): Access.DEMAND,
    ("PUT", "/api/v1/heat/stop", "/api/v1/heat/stop", '{"stop": true}'): Access.DEMAND,
    ("POST", "/api/v1/heat/stop/release", "/api/v1/heat/stop/release", RELEASE): Access.OPERATE,
    ("POST", "/api/v1/heat/alarms/acknowledge", "/api/v1/heat/alarms/acknowledge", ""): Access.OPERATE,
    ("PUT", "/api/v1/heat/meter", "/api/v1/heat/meter", METER): Access.DEMAND,
    ("PUT", "/api/v1/prices", "/api/v1/prices", '{"electricity_per_kwh": null}'): Access.OPERATE,
    ("PUT", "/api/v1/heat/forecast", "/api/v1/heat/forecast", '{"demand_kw": null}'): Access.DEMAND,
    ("PUT", "/api/v1/heat/tank", "/api/v1/heat/tank", '{"content_kwh": 1000}'): Access.DEMAND,
    ("GET", "/api/v1/heat/plan", "/api/v1/heat/plan", ""): Access.READ,
    ("GET", "/api/v1/settlement", "/api/v1/settlement", ""): Access.READ,
    ("PUT", "/api/v1/heat/limit", "/api/v1/heat/limit", '{"power_w": null}'): Access.OPERATE,
    ("PUT", "/api/v1/units/{unit_id:str}/service", f"{UNIT}/service", '{"in_service": true}'): Access.OPERATE,
    ("PUT", "/api/v1/units/{unit_id:str}/work", f"{UNIT}/work", '{"withheld_s": 60}'): Access.OPERATE,
    ("PUT", "/api/v1/units/{unit_id:str}/level", f"{UNIT}/level", '{"level": 1}'): Access.OPERATE,
    ("POST", "/api/v1/units/{unit_id:str}/accept-serial", f"{UNIT}/accept-serial", ""): Access.OPERATE,
    ("POST", "/api/v1/units/{unit_id:str}/clear-fault", f"{UNIT}/clear-fault", ""): Access.OPERATE,
    ("POST", "/api/v1/reload", "/api/v1/reload", ""): Access.OPERATE,
}
ALLOWED = {
    Access.OPEN: {"nobody", "viewer", "utility", "operator"},
    Access.READ: {"viewer", "utility", "operator"},
    Access.DEMAND: {"utility", "operator"},
    Access.OPERATE: {"operator"},
}


def test_the_table_names_every_route_of_the_application() -> None:
    app = build_app(WebContext(FakeSite(Clock())))
    served = set()
    for route in app.routes:
        methods = getattr(route, "route_handler_map", None) or {"GET": None}
        served |= {(method, route.path) for method in methods if method != "OPTIONS"}
    served.discard(("GET", "/schema/{path:str}"))  # the framework's own 404 page below /schema
    assert {(method, route) for method, route, _, _ in ROUTES} == served


@pytest.mark.parametrize("role", ["nobody", "viewer", "utility", "operator"])
@pytest.mark.parametrize("open_reads", [True, False])
async def test_each_route_lets_in_exactly_the_roles_of_its_access(open_reads: bool, role: str) -> None:
    site = FakeSite(Clock(), api_table(open_reads=open_reads))
    web = WebContext(site)
    web.live.close()  # streams end at once
    async with local_client(web) as client:
        for (method, _, path, body), access in ROUTES.items():
            headers = {} if role == "nobody" else bearer(role)
            answer = await client.request(method, path, headers=headers, content=body)
            may = role in ALLOWED[access] or (access is Access.READ and open_reads)
            expected = {200, 202} if may else ({401} if role == "nobody" else {403})
            assert answer.status_code in expected, (method, path, role, answer.text)
            if not may:
                assert answer.json()["remedy"]
    took = {actor for _, actor in site.actions}
    assert took <= {f"{role}-key"}


@pytest.mark.parametrize("access", [Access.READ, Access.DEMAND, Access.OPERATE])
async def test_a_wrong_key_is_refused_even_where_reading_is_open(access: Access) -> None:
    site = FakeSite(Clock())
    method, _, path, body = next(route for route, needs in ROUTES.items() if needs is access)
    async with local_client(WebContext(site)) as client:
        answer = await client.request(method, path, headers={"X-API-Key": "guess"}, content=body)
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["www-authenticate"]
    assert site.actions == []
    assert site.events.since(1)[0].name == "api.refused"


async def test_both_headers_carry_the_same_key() -> None:
    site = FakeSite(Clock(), api_table(open_reads=False))
    async with local_client(WebContext(site)) as client:
        assert (await client.get("/api/v1/heat", headers={"X-API-Key": KEYS["viewer"]})).status_code == 200
        assert (await client.get("/api/v1/heat", headers={"Authorization": f"bearer {KEYS['viewer']}"})).status_code == 200
        assert (await client.get("/api/v1/heat", headers={"Authorization": "Basic dXNlcjpwYXNz"})).status_code == 401


async def test_without_configured_keys_nothing_can_be_controlled_and_the_answer_says_why() -> None:
    async with local_client(WebContext(FakeSite(Clock(), api_table(with_keys=False)))) as client:
        answer = await client.post("/api/v1/reload")
    assert answer.status_code == 401
    assert "none is configured" in answer.json()["detail"]
    assert "thermostratum apikey" in answer.json()["remedy"]


async def test_guessing_keys_is_stopped_per_address_and_even_the_right_key_waits() -> None:
    site = FakeSite(Clock())
    web = WebContext(site)
    async with local_client(web, "192.0.2.7") as client:
        for _ in range(TRIES):
            assert (await client.get("/api/v1/heat", headers={"X-API-Key": "guess"})).status_code == 401
        answer = await client.get("/api/v1/heat", headers=bearer("operator"))
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= WINDOW_S + 1
        assert (await client.get("/api/v1/heat")).status_code == 200  # reading without a key goes on
    assert web.metrics.registry.get_sample_value("thermostratum_http_refused_keys_total") == TRIES


async def test_keys_that_a_reload_removed_stop_working() -> None:
    site = FakeSite(Clock())
    async with local_client(WebContext(site)) as client:
        assert (await client.post("/api/v1/reload", headers=bearer("operator"))).status_code == 200
        site._api = api_table(with_keys=False)
        assert (await client.post("/api/v1/reload", headers=bearer("operator"))).status_code == 401


def test_a_key_is_found_by_its_hash_only() -> None:
    keys = api_table().keys
    actor = find_actor(KEYS["utility"], keys)
    assert actor is not None
    assert (actor.name, actor.role) == ("utility-key", "utility")
    assert find_actor(keys[0].sha256, keys) is None
    assert find_actor("\udcff", keys) is None


def test_the_guess_limit_forgets_after_its_window_and_counts_a_whole_ipv6_network() -> None:
    limit = GuessLimit()
    for tail in range(TRIES):
        limit.note(f"2001:db8::{tail:x}", 100.0)
    assert limit.wait_s("2001:db8::ffff", 100.0) == WINDOW_S
    assert limit.wait_s("2001:db8:0:1::1", 100.0) == 0
    assert limit.wait_s("2001:db8::1", 100.0 + WINDOW_S) == 0


def test_the_guess_limit_remembers_a_bounded_number_of_addresses() -> None:
    limit = GuessLimit()
    for n in range(ADDRESSES + 50):
        limit.note(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1.0)
    assert len(limit._tries) == ADDRESSES
