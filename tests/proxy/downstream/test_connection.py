"""One miner's socket: what waits, what is replaced, what is sent together, and what is dropped."""

import socket
from collections.abc import Callable, Iterator

import pytest

from protocol.errors import RemoteProtocolError
from proxy.downstream.connection import MAX_UNSENT_BYTES, Connection
from proxy.downstream.transport import PlainTransport

FIRST, SECOND, THIRD = b"first job\n", b"second job\n", b"third job\n"


class Stingy:
    """A transport over a socket that takes only so many bytes more, and counts the calls."""

    ended = None
    wants_write = False

    def __init__(self, sock: socket.socket, room: int) -> None:
        self._plain = PlainTransport(sock)
        self.room = room
        self.calls: list[bytes] = []

    def receive(self, size: int) -> bytes:
        return self._plain.receive(size)

    def send(self, data: bytes) -> int:
        if self.room == 0:
            raise BlockingIOError
        self.calls.append(data[: self.room])
        sent = self._plain.send(data[: self.room])
        self.room -= sent
        return sent

    def farewell(self) -> None:
        self._plain.farewell()


class Talker:
    """A session that does what the test says with each piece it is given."""

    is_ready = True
    may_be_silent = False

    def __init__(self, act: Callable[[bytes], None]) -> None:
        self.act = act
        self.heard: list[bytes] = []

    def receive(self, data: bytes) -> None:
        self.heard.append(data)
        self.act(data)

    def closed(self, reason: str) -> None: ...


class Bench:
    """A connection with its miner at the other end of a socket pair."""

    def __init__(self, room: int = 1 << 30) -> None:
        ours, self.miner = socket.socketpair()
        ours.setblocking(False)
        self.miner.settimeout(0)
        self.interests: list[bool] = []
        self.transport = Stingy(ours, room)
        self.connection = Connection(ours, "192.0.2.1", self.transport, 0.0, self._interest)
        self.talker = Talker(lambda data: None)
        self.connection.session = self.talker

    def _interest(self, connection: Connection) -> None:
        # The reactor's part of the bargain.
        self.interests.append(connection.wants_write)
        connection.blocked_since_s = 0.0 if connection.wants_write else None

    def seen(self) -> bytes:
        try:
            return self.miner.recv(1 << 20)
        except BlockingIOError:
            return b""

    def says(self, data: bytes) -> None:
        self.miner.sendall(data)
        self.connection.readable(1.0)

    def close(self) -> None:
        self.connection.sock.close()
        self.miner.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_a_short_write_leaves_the_rest_for_later_and_asks_to_be_woken(bench: Bench) -> None:
    bench.transport.room = 4
    bench.connection.send(b"0123456789")
    assert bench.seen() == b"0123"
    assert bench.connection.wants_write
    assert bench.interests == [True]
    bench.transport.room = 3
    bench.connection.writable()
    assert bench.seen() == b"456"
    bench.transport.room = 100
    bench.connection.writable()
    assert bench.seen() == b"789"
    assert bench.interests == [True, False]


def test_what_is_sent_while_bytes_wait_comes_after_them(bench: Bench) -> None:
    bench.transport.room = 1
    bench.connection.send(b"ab")
    bench.connection.send(b"cd")
    bench.transport.room = 100
    bench.connection.send(b"ef")
    bench.connection.writable()
    assert bench.seen() == b"abcdef"


def test_a_job_that_waits_is_replaced_by_a_newer_one(bench: Bench) -> None:
    bench.transport.room = 0
    for job in (FIRST, SECOND, THIRD):
        bench.connection.send_job(job)
    bench.transport.room = 100
    bench.connection.writable()
    assert bench.seen() == THIRD


def test_a_job_that_was_begun_is_finished_and_the_newest_follows_on_a_new_line(bench: Bench) -> None:
    bench.transport.room = 5
    for job in (FIRST, SECOND, THIRD):
        bench.connection.send_job(job)
    bench.transport.room = 100
    bench.connection.writable()
    assert bench.seen() == FIRST + THIRD


def test_a_waiting_job_is_not_lost_when_a_reply_gets_through_before_it(bench: Bench) -> None:
    bench.transport.room = 0
    bench.connection.send_job(FIRST)
    bench.transport.room = 100
    bench.connection.send(b"reply\n")
    bench.connection.writable()
    assert sorted(bench.seen().splitlines()) == [b"first job", b"reply"]
    assert not bench.connection.wants_write


def test_replies_of_one_read_leave_in_one_call(bench: Bench) -> None:
    def answer(data: bytes) -> None:
        for line in data.splitlines():
            bench.connection.send(b"re:" + line + b"\n")

    bench.talker.act = answer
    bench.says(b"a\nb\nc\n")
    assert bench.transport.calls == [b"re:a\nre:b\nre:c\n"]


def test_replies_before_a_job_stay_before_it_and_those_after_it_after_it(bench: Bench) -> None:
    def answer(data: bytes) -> None:
        bench.connection.send(b"subscribed\n")
        bench.connection.send_job(FIRST)
        bench.connection.send(b"pong\n")

    bench.talker.act = answer
    bench.says(b"x")
    assert bench.seen() == b"subscribed\n" + FIRST + b"pong\n"


def test_hanging_up_sends_what_was_said_in_this_read_first(bench: Bench) -> None:
    def refuse(data: bytes) -> None:
        bench.connection.send(b"no room\n")
        bench.connection.hang_up("full")
        bench.connection.send(b"never said\n")

    bench.talker.act = refuse
    bench.says(b"x")
    assert bench.seen() == b"no room\n"
    assert bench.connection.close_reason == "full"


def test_a_broken_protocol_ends_with_its_reply_and_its_reason(bench: Bench) -> None:
    def choke(data: bytes) -> None:
        raise RemoteProtocolError("line too long", reply=b"error\n")

    bench.talker.act = choke
    bench.says(b"x")
    assert bench.seen() == b"error\n"
    assert bench.connection.close_reason == "line too long"


def test_the_first_reason_to_close_stays(bench: Bench) -> None:
    bench.connection.hang_up("first")
    bench.connection.hang_up("second")
    assert bench.connection.close_reason == "first"


def test_nothing_is_sent_after_hanging_up(bench: Bench) -> None:
    bench.transport.room = 2
    bench.connection.send(b"abcd")
    bench.connection.hang_up("enough")
    bench.transport.room = 100
    bench.connection.send(b"ef")
    bench.connection.send_job(FIRST)
    bench.connection.writable()
    assert bench.seen() == b"ab"


def test_a_miner_that_left_is_closed_with_a_reason(bench: Bench) -> None:
    bench.miner.close()
    bench.connection.readable(1.0)
    assert bench.connection.close_reason == "closed by the miner"


def test_a_write_to_a_miner_that_left_closes_and_does_not_raise(bench: Bench) -> None:
    bench.miner.close()
    bench.connection.send(b"job\n")
    assert bench.connection.close_reason == "Broken pipe"


def test_replies_that_nobody_reads_are_bounded(bench: Bench) -> None:
    bench.transport.room = 0
    for _ in range(MAX_UNSENT_BYTES // 100 + 2):
        bench.connection.send(bytes(100))
    assert bench.connection.close_reason == "does not read: its send buffer is full"


def test_a_spurious_wake_up_changes_nothing(bench: Bench) -> None:
    bench.connection.readable(1.0)
    bench.connection.writable()
    assert bench.connection.close_reason is None
    assert bench.connection.last_read_s == 0.0
    assert not bench.interests


def test_a_real_socket_that_is_not_read_blocks_and_then_gives_everything_in_order() -> None:
    bench = Bench()
    sent = b"".join(b"%07d\n" % number for number in range(7_000))
    for start in range(0, len(sent), 1_000):
        bench.connection.send(sent[start : start + 1_000])
    # The kernel took some of it; the rest is ours, and every byte arrives once.
    received = b""
    while piece := bench.seen():
        received += piece
        bench.connection.writable()
    assert received == sent
    bench.close()
