"""Admission and the cost of nonsense."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.downstream.guard import COST_BROKEN_LINE, DECAY_S, HARD_LIMIT, MAX_ADDRESSES, Guard


def test_an_address_has_a_limit_of_its_own() -> None:
    guard = Guard(100, 2, [])
    assert guard.admit("192.0.2.1", 0.0) is None
    assert guard.admit("192.0.2.1", 0.0) is None
    refusal = guard.admit("192.0.2.1", 0.0)
    assert refusal is not None
    assert "max_connections_per_address" in refusal
    assert guard.admit("192.0.2.2", 0.0) is None


def test_the_site_has_a_limit_and_a_place_is_free_again_after_one_left() -> None:
    guard = Guard(2, 2, [])
    guard.admit("192.0.2.1", 0.0)
    guard.admit("192.0.2.2", 0.0)
    assert "max_connections" in (guard.admit("192.0.2.3", 0.0) or "")
    guard.leave("192.0.2.1", 1.0)
    assert guard.admit("192.0.2.3", 1.0) is None


def test_nonsense_is_forgiven_after_a_while() -> None:
    guard = Guard(100, 100, [])
    guard.admit("192.0.2.1", 0.0)
    while guard.charge("192.0.2.1", COST_BROKEN_LINE, 0.0):
        pass
    assert "nonsense" in (guard.admit("192.0.2.1", 0.0) or "")
    assert guard.admit("192.0.2.2", 0.0) is None
    assert guard.admit("192.0.2.1", DECAY_S + 1) is None


def test_a_hall_behind_one_address_may_reconnect_at_once() -> None:
    guard = Guard(5_000, 5_000, [])
    assert HARD_LIMIT > 5_000
    assert all(guard.admit("192.0.2.1", 0.0) is None for _ in range(920))


def test_addresses_that_left_do_not_pile_up() -> None:
    guard = Guard(10, 10, [])
    for number in range(MAX_ADDRESSES + 10):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        guard.admit(address, 0.0)
        guard.leave(address, 0.0)
    assert len(guard._accounts) <= MAX_ADDRESSES


def test_only_listed_balancers_are_believed() -> None:
    guard = Guard(10, 10, ["10.0.0.0/8"])
    assert guard.trusts_proxy("10.1.2.3")
    assert not guard.trusts_proxy("192.0.2.1")


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.booleans()), max_size=60))
def test_the_count_is_the_number_of_those_admitted_and_not_left(steps: list[tuple[str, bool]]) -> None:
    guard = Guard(5, 3, [])
    inside: list[str] = []
    for at_s, (address, comes) in enumerate(steps):
        if comes:
            if guard.admit(address, float(at_s)) is None:
                inside.append(address)
        elif address in inside:
            inside.remove(address)
            guard.leave(address, float(at_s))
    assert guard.connections == len(inside) <= 5
    assert all(inside.count(address) <= 3 for address in "abc")
