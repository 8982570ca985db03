"""Whose fault it was is always said."""

import pytest

from protocol.errors import LocalProtocolError, ProtocolError, RemoteProtocolError


def test_the_base_of_both_faults_cannot_be_raised() -> None:
    with pytest.raises(TypeError, match="LocalProtocolError or RemoteProtocolError"):
        ProtocolError("somebody's fault")


def test_a_fault_says_why_and_a_remote_one_what_to_reply() -> None:
    assert LocalProtocolError("ours").reason == "ours"
    error = RemoteProtocolError("theirs", b"bye\n")
    assert (str(error), error.reason, error.reply) == ("theirs", "theirs", b"bye\n")
    assert RemoteProtocolError("theirs").reply == b""
