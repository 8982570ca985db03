"""When accepted shares are acknowledged, and with which numbers."""

from protocol.v2.acknowledge import MAX_WAIT_S, Acknowledgements, Batch


def test_an_idle_channel_is_answered_at_once_and_a_busy_one_once_a_second() -> None:
    shares = Acknowledgements()
    shares.add(1, 2.0)
    assert shares.is_due(0.0, 100)
    assert shares.take(0.0) == Batch(1, 1, 2)
    shares.add(2, 2.0)
    assert not shares.is_due(MAX_WAIT_S - 0.01, 100)
    assert shares.is_due(MAX_WAIT_S, 100)


def test_count_and_sum_are_of_the_batch_alone_and_fractions_add_up() -> None:
    shares = Acknowledgements()
    for number in (5, 6, 7):
        shares.add(number, 0.75)
    assert shares.take(0.0) == Batch(7, 3, 2)
    shares.add(8, 1.0)
    assert shares.take(0.0) == Batch(8, 1, 1)
    assert shares.take(0.0) is None
    assert not shares.is_due(1e9, 1)


def test_a_full_batch_or_a_block_does_not_wait() -> None:
    shares = Acknowledgements()
    shares.add(1, 1.0)
    shares.take(10.0)
    shares.add(2, 1.0)
    assert not shares.is_due(10.0, 2)
    shares.add(3, 1.0)
    assert shares.is_due(10.0, 2)
    shares.take(10.0)
    shares.add(4, 1.0, is_block=True)
    assert shares.is_due(10.0, 100)
    shares.take(10.0)
    shares.add(5, 1.0)
    assert not shares.is_due(10.0, 100)


def test_the_last_number_is_the_latest_also_when_numbers_wrap() -> None:
    shares = Acknowledgements()
    for number in (2**32 - 1, 0):
        shares.add(number, 1.0)
    assert shares.take(0.0) == Batch(0, 2, 2)


def test_a_sum_too_large_for_its_field_is_capped() -> None:
    shares = Acknowledgements()
    shares.add(1, 1e30)
    assert shares.take(0.0) == Batch(1, 1, 2**64 - 1)
