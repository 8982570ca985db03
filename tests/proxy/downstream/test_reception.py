"""What every miner is received with, whatever it speaks."""

from proxy.downstream.guard import DECAY_S, HARD_LIMIT
from tests.support.wire import Wire


def test_an_address_that_costs_too_much_is_hung_up_on_and_one_that_costs_little_is_not() -> None:
    wire = Wire()
    cheap, dear = wire.connect(), wire.connect()
    dear.connection.address = "192.0.2.66"
    reception = wire.server.reception
    reception.charge(cheap.connection, HARD_LIMIT)
    assert cheap.connection.close_reason is None
    reception.charge(dear.connection, HARD_LIMIT + 1.0)
    assert dear.connection.close_reason == "too much nonsense from this address"
    wire.close()


def test_what_an_address_has_cost_is_forgotten_with_time() -> None:
    wire = Wire()
    unit = wire.connect()
    for _ in range(3):
        wire.server.reception.charge(unit.connection, HARD_LIMIT)
        wire.now_s += DECAY_S
    assert unit.connection.close_reason is None
    wire.close()
