"""Which extensions are asked of a pool, after what it said or did not say before."""

import pytest

from proxy.errors import PoolError
from proxy.upstream.v2_extensions import MAX_SILENCES, MIN_SILENCE_S, ExtensionWishes, silence_s


def test_nothing_is_asked_for_where_the_site_file_does_not_list_the_negotiation_itself() -> None:
    assert ExtensionWishes([1, 2]).wanted == [2]
    assert ExtensionWishes([2]).wanted == []
    assert ExtensionWishes([1]).wanted == []


def test_a_pool_that_never_answers_is_asked_so_many_times_and_not_again() -> None:
    wishes = ExtensionWishes([1, 2])
    for number in range(1, MAX_SILENCES + 1):
        assert wishes.wanted == [2]
        assert wishes.count_silence().startswith(f"{number} of")
    assert wishes.wanted == []


@pytest.mark.parametrize(("required", "unsupported", "next_wish"), [((), (2,), []), ((2,), (), [2]), ((2, 1), (), [1, 2])])
def test_after_a_refusal_exactly_what_is_required_is_asked_for(
    required: tuple[int, ...], unsupported: tuple[int, ...], next_wish: list[int]
) -> None:
    assert ExtensionWishes([1, 2]).after_refusal(required, unsupported) == next_wish


@pytest.mark.parametrize(("required", "unsupported"), [((2, 0x4001), ()), ((2,), (2,))])
def test_a_pool_that_requires_what_is_not_known_or_what_it_has_not_cannot_be_used(
    required: tuple[int, ...], unsupported: tuple[int, ...]
) -> None:
    with pytest.raises(PoolError, match="requires extensions 0x0002"):
        ExtensionWishes([1, 2]).after_refusal(required, unsupported)


def test_what_was_agreed_on_is_told_once_and_again_when_it_changes() -> None:
    wishes = ExtensionWishes([1, 2])
    told = [wishes.news(frozenset(agreed)) for agreed in ((2,), (2,), (), (), (2,))]
    assert told == ["0x0002", None, "none", None, "0x0002"]


def test_an_answer_is_waited_for_as_long_as_connecting_took_twice() -> None:
    assert silence_s(3.0) == 6.0
    assert silence_s(0.001) == MIN_SILENCE_S
