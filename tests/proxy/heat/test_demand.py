import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat.demand import DemandAccepted, DemandBook, DemandRefused, Envelope, HeatDemand

NOW = 1_768_435_200.0
ENVELOPE = Envelope(capacity_w=1_000_000.0, max_validity_s=86_400.0, max_clock_skew_s=60.0, max_step=1.0)


def demand(sequence: int = 1, power_w: float = 500_000.0, **fields: object) -> HeatDemand:
    values: dict[str, object] = {
        "source": "dh",
        "epoch": 0,
        "sequence": sequence,
        "issued_unix_s": NOW,
        "valid_from_unix_s": NOW,
        "valid_until_unix_s": NOW + 900,
        "power_w": power_w,
    }
    values.update(fields)
    return HeatDemand(**values)  # type: ignore[arg-type]  # keywords of the record


def refusal(
    book: DemandBook, asked: HeatDemand, in_force: HeatDemand | None = None, envelope: Envelope = ENVELOPE
) -> DemandRefused:
    answer = book.judge(asked, envelope, in_force, NOW)
    assert isinstance(answer, DemandRefused)
    return answer


def take(book: DemandBook, asked: HeatDemand) -> DemandAccepted:
    answer = book.judge(asked, ENVELOPE, None, NOW)
    assert isinstance(answer, DemandAccepted)
    book.note(asked, answer)
    return answer


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"power_w": math.nan}, 422, "NaN"),
        ({"power_w": math.inf}, 422, "infinite"),
        ({"valid_until_unix_s": math.inf}, 422, "infinite"),
        ({"power_w": -1.0}, 422, "negative"),
        ({"power_w": 500_000_000.0}, 422, "absurd"),
        ({"sequence": -1}, 422, "negative"),
        ({"sequence": 2**64}, 422, "too large"),
        ({"valid_until_unix_s": NOW - 1, "valid_from_unix_s": NOW - 900}, 422, "expired"),
        ({"valid_until_unix_s": NOW - 1}, 422, "expired"),
        ({"valid_until_unix_s": NOW + 10, "valid_from_unix_s": NOW + 20}, 422, "ends before it begins"),
        ({"valid_until_unix_s": NOW + 90_000}, 422, "too long"),
        ({"issued_unix_s": NOW + 61}, 422, "in the future"),
        ({"issued_unix_s": NOW - 90_000}, 422, "too long ago"),
        ({"valid_from_unix_s": NOW + 90_000, "valid_until_unix_s": NOW + 91_000}, 422, "too far in the future"),
    ],
)
def test_a_bad_demand_is_refused_with_cause_and_remedy(fields: dict[str, object], code: int, word: str) -> None:
    answer = refusal(DemandBook(), demand(**fields))
    assert answer.code == code
    assert word in answer.reason
    assert answer.remedy


def test_a_good_demand_is_live_or_pending() -> None:
    assert take(DemandBook(), demand()).state == "live"
    assert take(DemandBook(), demand(valid_from_unix_s=NOW + 300)).state == "pending"


def test_zero_is_a_demand() -> None:
    assert take(DemandBook(), demand(power_w=0.0)).power_w == 0.0


def test_a_replayed_or_reordered_sequence_is_refused_and_told_where_to_carry_on() -> None:
    book = DemandBook()
    take(book, demand(7))
    for sequence, power_w in ((7, 400_000.0), (6, 500_000.0), (0, 1.0)):
        answer = refusal(book, demand(sequence, power_w))
        assert (answer.code, answer.last_epoch, answer.last_sequence) == (409, 0, 7)
        assert "8" in answer.remedy


def test_an_honest_repeat_gets_the_first_answer_again_even_after_it_expired() -> None:
    book = DemandBook()
    first = take(book, demand(7))
    assert book.answered(demand(7)) == first
    assert book.answered(demand(7, 400_000.0)) is None
    assert book.answered(demand(6)) is None


def test_relative_times_of_a_repeat_are_known_by_what_was_sent() -> None:
    book = DemandBook()
    first = take(book, demand(7, content="abc"))
    later = demand(7, content="abc", issued_unix_s=NOW + 5, valid_from_unix_s=NOW + 5, valid_until_unix_s=NOW + 905)
    assert book.answered(later) == first
    assert book.answered(msgspec.structs.replace(later, content="abd")) is None


def test_a_new_epoch_counts_from_anywhere_and_an_old_one_is_over() -> None:
    book = DemandBook()
    take(book, demand(7, epoch=1))
    take(book, demand(0, epoch=2))
    answer = refusal(book, demand(8, epoch=1))
    assert answer.code == 409
    assert "epoch 2" in answer.reason


def test_every_refusal_names_the_last_sequence() -> None:
    book = DemandBook()
    take(book, demand(7))
    assert refusal(book, demand(8, power_w=-1.0)).last_sequence == 7


def test_a_second_source_waits_for_the_first_ones_window() -> None:
    book = DemandBook()
    ruling = demand(1)
    take(book, ruling)
    answer = refusal(book, demand(1, source="other"), in_force=ruling)
    assert answer.code == 409
    assert "dh" in answer.reason


def test_sources_are_bounded() -> None:
    book = DemandBook()
    for k in range(32):
        take(book, demand(source=f"s{k}"))
    assert refusal(book, demand(source="one-more")).code == 409


def test_a_jump_beyond_the_agreed_step_is_refused() -> None:
    careful = Envelope(capacity_w=1_000_000.0, max_validity_s=86_400.0, max_clock_skew_s=60.0, max_step=0.3)
    ruling = demand(1, 500_000.0)
    answer = refusal(DemandBook(), demand(2, 900_000.0), ruling, careful)
    assert "jumps" in answer.reason
    assert isinstance(DemandBook().judge(demand(2, 790_000.0), careful, ruling, NOW), DemandAccepted)


def test_heat_beyond_capacity_is_a_demand_and_no_jump() -> None:
    # It is delivered as far as possible, and the limiter says so.
    ruling = demand(1, 0.0)
    assert isinstance(DemandBook().judge(demand(2, 1_900_000.0), ENVELOPE, ruling, NOW), DemandAccepted)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 6),
            st.floats(allow_nan=True, allow_infinity=True),
            st.floats(-1e6, 1e6),
            st.floats(-1e6, 1e6),
        ),
        max_size=30,
    )
)
def test_what_is_accepted_is_sane_and_rises_strictly(sent: list[tuple[int, int, float, float, float]]) -> None:
    book = DemandBook()
    taken: list[HeatDemand] = []
    for epoch, sequence, power_w, start, length in sent:
        asked = demand(sequence, power_w, epoch=epoch, valid_from_unix_s=NOW + start, valid_until_unix_s=NOW + start + length)
        answer = book.judge(asked, ENVELOPE, None, NOW)
        if isinstance(answer, DemandAccepted):
            book.note(asked, answer)
            taken.append(asked)
        else:
            assert answer.reason
            assert answer.remedy
    assert [d.order for d in taken] == sorted({d.order for d in taken})
    for d in taken:
        assert 0 <= d.power_w <= 2_000_000.0
        assert d.valid_until_unix_s > NOW
        assert d.valid_until_unix_s - d.valid_from_unix_s <= 86_400.0
