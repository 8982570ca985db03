"""A bug of ours while one miner is spoken to: its connection fails, the caller goes on."""

import socket
from collections.abc import Iterator

import pytest

from proxy.downstream.connection import Connection
from proxy.downstream.contained import contained
from tests.support.wire import MemoryTransport


class Speaker:
    """Says what it is told to; some words are bugs."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.said: list[str] = []

    @contained
    def say(self, word: str, *, loudly: bool) -> None:
        if word == "bug":
            raise KeyError(word)
        self.said.append(word.upper() if loudly else word)


@pytest.fixture
def speaker() -> Iterator[Speaker]:
    with socket.socket() as sock:
        yield Speaker(Connection(sock, "192.0.2.1", MemoryTransport(), 0.0, lambda connection: None))


def test_a_call_without_a_bug_is_the_call_itself(speaker: Speaker) -> None:
    speaker.say("job", loudly=True)
    assert speaker.said == ["JOB"]
    assert speaker.connection.close_reason is None


def test_a_bug_closes_the_connection_and_raises_nothing(speaker: Speaker) -> None:
    speaker.say("bug", loudly=False)
    assert speaker.connection.is_broken
    assert speaker.connection.close_reason == "internal error"
