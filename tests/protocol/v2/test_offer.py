"""What a server offers: its flags, whom it refuses, which extensions it grants."""

import pytest

from protocol.errors import RemoteProtocolError
from protocol.v2 import constants
from protocol.v2.offer import Offer
from tests.support.v2 import setup


@pytest.mark.parametrize("fixed_version", [False, True])
@pytest.mark.parametrize("extended_only", [False, True])
def test_a_client_gets_what_the_flags_leave_and_nothing_else(fixed_version: bool, extended_only: bool) -> None:
    offer = Offer(fixed_version=fixed_version, extended_only=extended_only)
    assert bool(offer.flags & constants.REQUIRES_FIXED_VERSION) is fixed_version
    assert bool(offer.flags & constants.REQUIRES_EXTENDED_CHANNELS) is extended_only
    for flag, is_refused in (
        (constants.REQUIRES_VERSION_ROLLING, fixed_version),
        (constants.REQUIRES_STANDARD_JOBS, extended_only),
        (constants.REQUIRES_WORK_SELECTION, True),
        (0, False),
    ):
        if is_refused:
            with pytest.raises(RemoteProtocolError, match="unsupported-feature-flags"):
                offer.check(setup(flag))
        else:
            offer.check(setup(flag))


def test_extensions_are_granted_once_each_and_required_ones_are_missed_until_agreed_on() -> None:
    offer = Offer(extensions=frozenset({2, 5}), required_extensions=frozenset({5, 4}))
    assert offer.granted((5, 9, 2, 5)) == (5, 2)
    assert offer.missing(frozenset({5})) == (4,)
    assert offer.missing(frozenset()) == (4, 5)
    assert offer.missing(frozenset({4, 5})) == ()
