"""What a pool is told of the units that work for it."""

from proxy.work.load import Load
from tests.support.jobs import EASY, FakeSession
from tests.support.routing import Bench


def test_a_session_has_the_sum_of_its_units_and_the_lowest_difficulty() -> None:
    bench = Bench()
    session = bench.session
    assert session is not None
    for name, rate_hps in (("unit-1", 1e6), ("unit-2", 4e6)):
        channel = bench.unit(name)
        bench.router.expect_hashrate(name, rate_hps)
        assert channel.session is session
    loads, spare = bench.router.loads()
    lowest = min(channel.vardiff.difficulty for channel in bench.router.channels)
    assert loads == {session: Load(5e6, lowest)}
    assert spare == Load(0.0, lowest)


def test_units_that_sleep_bring_nothing() -> None:
    bench = Bench()
    bench.unit("unit-1")
    bench.router.expect_hashrate("unit-1", 1e6)
    bench.router.expect_hashrate("unit-1", 0.0)
    loads, spare = bench.router.loads()
    assert loads == {}
    assert spare == Load(0.0, bench.router.policy.start_difficulty)


def test_each_session_has_its_own_units() -> None:
    bench = Bench()
    first, second = bench.session, FakeSession("pool-b", 2)
    bench.unit("unit-1")
    bench.session = second
    bench.unit("unit-2")
    bench.router.expect_hashrate("unit-1", 1e6)
    bench.router.expect_hashrate("unit-2", 2e6)
    loads, _ = bench.router.loads()
    assert {session: load.hashrate_hps for session, load in loads.items()} == {first: 1e6, second: 2e6}


def test_a_unit_without_a_pool_counts_for_nobody() -> None:
    bench = Bench()
    bench.session = None
    bench.unit("unit-1")
    assert bench.router.loads()[0] == {}


def test_news_is_a_hundredth_of_the_hashrate_or_any_other_difficulty() -> None:
    told = Load(1e15, EASY)
    assert not Load(1.009e15, EASY).is_news_to(told)
    assert Load(1.02e15, EASY).is_news_to(told)
    assert Load(0.98e15, EASY).is_news_to(told)
    assert Load(1e15, EASY / 2).is_news_to(told)
    assert not Load(0.0, EASY).is_news_to(Load(0.0, EASY))
    assert Load(1.0, EASY).is_news_to(Load(0.0, EASY))
