"""Every channel is on the pool where it belongs, and is moved once when that changes."""

from protocol.bitcoin.target import HASHES_PER_DIFFICULTY
from proxy.config import Pool as PoolConfig
from proxy.work.assign import Assigner
from proxy.work.channel import Channel
from proxy.work.health import READY, Health, HealthState
from proxy.work.jobs import UpstreamSession
from tests.support.jobs import EASY, FakeSession
from tests.support.routing import Bench

DOWN = Health(HealthState.DOWN, "cannot connect")
SICK = Health(HealthState.SICK, "no job for 100 s")


class FakePool:
    """A pool of one session that is there when the test says so; `own` are connections that belong to one unit."""

    def __init__(self, name: str, priority: int = 0, weight: float = 1.0) -> None:
        self.name = name
        self.config = PoolConfig(
            name=name, url="stratum+tcp://192.0.2.1:3333", user="account", priority=priority, weight=weight, return_after_s=60.0
        )
        self.judged = READY
        self.session = FakeSession(name)
        self.session.job(1)
        self.own: dict[str, FakeSession | None] = {}
        self.released: list[str] = []
        self.version_mask: int | None = 0x1FFFE000

    def health(self) -> Health:
        return self.judged

    def session_for(self, unit: str) -> UpstreamSession | None:
        session = self.own.get(unit, self.session)
        return session if session is not None and session.is_alive else None

    def stand_in(self) -> UpstreamSession | None:
        return self.session if self.session.is_alive else None

    def release(self, unit: str) -> None:
        self.released.append(unit)

    def fail(self) -> None:
        self.judged = DOWN
        self.session.is_alive = False

    def come_back(self) -> None:
        self.judged = READY
        self.session = FakeSession(self.name)
        self.session.job(1)


class Site:
    """An assigner over these pools, with a bench for the units."""

    def __init__(self, *pools: FakePool, order: tuple[str, ...] = (), preferred: dict[str, str] | None = None) -> None:
        self.bench = Bench()
        self.pools = list(pools)
        self.assigner = Assigner(
            self.bench.router,
            self.pools,
            order=order,
            preferred=preferred or {},
            events=self.bench.events,
            clock=lambda: self.bench.now_s,
        )
        self.bench.router.choose_session = self.assigner.choose
        self.bench.router.on_left = self.assigner.leave
        self.bench.shares.on_credited = self.assigner.account
        self.assigner.tick()

    def units(self, *names: str) -> list[Channel]:
        return [self.bench.unit(name) for name in names]

    def passes(self, seconds: float, step_s: float = 0.5) -> None:
        """Ticks as the site makes them."""
        end_s = self.bench.now_s + seconds
        while self.bench.now_s < end_s:
            self.bench.now_s += step_s
            self.assigner.tick()
            self.bench.fan_out()

    def poked(self) -> None:
        """A pool said that something changed."""
        self.assigner.poke()
        self.assigner.tick()
        self.bench.fan_out()

    def pools_of(self, units: list[Channel]) -> list[str | None]:
        return [unit.session.pool if unit.session is not None else None for unit in units]


def names(count: int) -> tuple[str, ...]:
    return tuple(f"unit-{number:03}" for number in range(count))


def test_units_start_on_the_best_pool_and_move_once_when_it_is_gone() -> None:
    site = Site(FakePool("a"), FakePool("b", 1))
    units = site.units("one", "two")
    site.pools[0].fail()
    site.poked()
    site.passes(30)
    assert site.pools_of(units) == ["b", "b"]
    assert [len(site.bench.jobs(unit)) for unit in units] == [2, 2]
    assert sorted(site.pools[0].released) == ["one", "two"]


def test_the_return_is_in_quarters_by_the_units_places_and_once_each() -> None:
    order = names(8)
    site = Site(FakePool("a"), FakePool("b", 1), order=order)
    units = site.units(*order)
    site.pools[0].fail()
    site.poked()
    site.pools[0].come_back()
    site.poked()
    site.passes(59)
    assert site.pools_of(units) == ["b"] * 8
    on_a = []
    for _ in range(4):
        site.passes(15)
        on_a.append(site.pools_of(units).count("a"))
    assert on_a == [2, 4, 6, 8]
    assert {len(site.bench.jobs(unit)) for unit in units} == {3}


def test_a_unit_that_connects_in_the_middle_of_a_return_goes_where_its_place_says() -> None:
    order = names(4)
    site = Site(FakePool("a"), FakePool("b", 1), order=order)
    site.pools[0].fail()
    site.poked()
    site.pools[0].come_back()
    site.passes(65)
    assert site.pools_of(site.units(*order)) == ["a", "b", "b", "b"]


def test_case_69_with_no_pool_units_keep_their_last_job_and_the_shortfall_is_told() -> None:
    site = Site(FakePool("a"), FakePool("b", 1))
    units = site.units("one")
    for pool in site.pools:
        pool.fail()
    site.poked()
    site.passes(12)
    assert site.pools_of(units) == [None]
    assert len(site.bench.jobs(units[0])) == 1
    assert [facts["phase"] for facts in site.bench.names("ladder.decided")] == ["serving", "outage", "shortfall"]
    late = site.units("late")
    assert not site.bench.jobs(late[0])
    site.pools[1].come_back()
    site.poked()
    assert site.pools_of(units + late) == ["b", "b"]


def test_a_unit_waits_for_its_own_connection_where_it_is_and_then_moves_once() -> None:
    a, b = FakePool("a"), FakePool("b", 1)
    site = Site(a, b)
    (unit,) = site.units("one")
    b.own["one"] = None
    a.judged = SICK
    site.passes(70)
    assert unit.session is a.session
    b.own["one"] = own = FakeSession("b", 9)
    own.job(1)
    site.poked()
    assert unit.session is own
    assert len(site.bench.jobs(unit)) == 2


def test_a_unit_whose_own_connection_is_not_there_borrows_the_pools_first_one_rather_than_idle() -> None:
    a = FakePool("a")
    a.own["one"] = None
    site = Site(a)
    (unit,) = site.units("one")
    assert unit.session is a.session
    a.own["one"] = own = FakeSession("a", 9)
    own.job(1)
    site.poked()
    assert unit.session is own
    own.is_alive = False
    site.poked()
    assert unit.session is a.session


def test_a_unit_goes_to_the_pool_it_prefers_and_back_to_it() -> None:
    a, b = FakePool("a"), FakePool("b", 1)
    site = Site(a, b, preferred={"fan": "b"})
    units = site.units("fan", "other")
    assert site.pools_of(units) == ["b", "a"]
    b.fail()
    site.poked()
    assert site.pools_of(units) == ["a", "a"]
    b.come_back()
    site.poked()
    site.passes(59)
    assert site.pools_of(units) == ["a", "a"]
    site.passes(3)
    assert site.pools_of(units) == ["b", "a"]
    assert [len(site.bench.jobs(unit)) for unit in units] == [3, 1]


def test_a_pool_that_is_taken_out_of_the_list_is_left_and_one_that_is_added_is_used() -> None:
    a, b = FakePool("a"), FakePool("b")
    site = Site(a)
    units = site.units("one")
    site.pools[:] = [b]
    site.poked()
    assert site.pools_of(units) == ["b"]
    assert site.bench.jobs(units[0])[-1].clean


def test_equal_priorities_share_by_weight_and_nobody_is_moved_without_need() -> None:
    site = Site(FakePool("a", weight=70), FakePool("b", weight=30))
    units = site.units(*names(60))
    assert site.pools_of(units).count("a") == 42
    work = EASY * HASHES_PER_DIFFICULTY
    for _ in range(360):
        site.passes(10, step_s=5)
        for pool in site.pools_of(units):
            site.assigner.account(str(pool), work)
    assert site.pools_of(units).count("a") == 42
    assert {len(site.bench.jobs(unit)) for unit in units} == {1}


def test_units_that_sleep_count_nothing_in_the_split() -> None:
    a, b = FakePool("a"), FakePool("b")
    site = Site(a, b)
    units = [site.bench.unit(name, typical_hps=1e14) for name in names(20)]
    assert site.pools_of(units).count("a") == 10
    awake = []
    for unit in units:
        if unit.session is a.session:
            site.bench.router.expect_hashrate(unit.unit, 0.0)
            site.assigner.power_changed(unit.unit)
        else:
            awake.append(unit)
    site.passes(1_200)
    assert site.pools_of(awake).count("a") == 5


def test_the_mask_offered_is_what_every_pool_that_spoke_allows() -> None:
    a, b = FakePool("a"), FakePool("b")
    site = Site(a, b)
    mask = site.assigner.offered_mask(0x1FFFE000)
    b.version_mask = 0x00FFE000
    assert mask() == 0x00FFE000
    a.version_mask = None
    b.version_mask = 0
    assert mask() == 0x1FFFE000


def test_a_unit_that_leaves_gives_its_place_at_the_pool_back() -> None:
    a = FakePool("a")
    site = Site(a)
    (unit,) = site.units("one")
    site.bench.router.close_channel(unit)
    assert a.released == ["one"]


def test_case_68_a_primary_that_flaps_each_ten_seconds_is_left_once() -> None:
    a, b = FakePool("a"), FakePool("b", 1)
    site = Site(a, b)
    units = site.units("one")
    for turn in range(360):
        a.fail() if turn % 2 else a.come_back()
        site.poked()
        site.passes(10, step_s=2)
    assert len(site.bench.jobs(units[0])) <= 3
    assert site.pools_of(units) == ["b"]
