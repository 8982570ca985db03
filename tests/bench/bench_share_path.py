"""What one share costs on its way through the proxy, step by step, against the floor of its hashes. Prints ratios, asserts nothing.

    python tests/bench/bench_share_path.py

The floor is what nobody can save: the coinbase, twelve merkle branches and the header, hashed twice each by the same library.
Figures are CPU time of this thread, medians of seven rounds over the same prepared shares.
"""

import hashlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import msgspec
import orjson

from protocol.v1.client import ClientConnection
from protocol.v1.server import ServerConnection
from proxy.config import Vardiff
from proxy.events import EventLog
from proxy.ledger.records import ShareRecord
from proxy.work import vardiff
from proxy.work.channel import Channel, ChannelLink, ShareCoordinates
from proxy.work.geometry import Geometry
from proxy.work.jobs import SentJob
from proxy.work.router import Router
from proxy.work.shares import ShareDesk
from tests.support.jobs import EASY, FakeSession, shares

SHARES = 1_000
ROUNDS = 7
BRANCHES = 12


class Ledger:
    """Takes everything and keeps nothing."""

    is_degraded = False

    def __init__(self) -> None:
        self._id = 0

    def next_share_id(self) -> int:
        self._id += 1
        return self._id

    def record_share(self, record: ShareRecord, token: object) -> bool:
        return True

    def count_rejected(self, unit: str, pool: str, verdict: str, at_unix_s: float, difficulty: float) -> None:
        pass


class Link:
    """A connection to nobody."""

    def send_job(self, sent: SentJob, *, clean: bool, new_difficulty: bool, new_mask: bool) -> None:
        self.sent = sent


def cpu_us(work: Callable[[], None]) -> float:
    """Median CPU time of one share, in microseconds."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        work()
        rounds.append((time.thread_time() - begun) / SHARES * 1e6)
    return statistics.median(rounds)


def main() -> None:
    """Prepare shares, time each step, print the table."""
    link = Link()
    router = Router(
        geometry=Geometry(2, 2),
        policy=vardiff.policy_from(Vardiff(min_difficulty=2.0**-30, start_difficulty=EASY, enabled=False)),
        events=EventLog(time.time),
        clock=time.monotonic,
        first_job_id=1,
    )
    desk = ShareDesk(router, ledger=Ledger(), events=EventLog(time.time), clock=time.monotonic, wall_clock=time.time)
    session = FakeSession()
    upstream = session.job(1)
    path = tuple(hashlib.sha256(b"%d" % number).digest() for number in range(BRANCHES))
    upstream.job = msgspec.structs.replace(upstream.job, merkle_path=path, coinbase_prefix=bytes(110), coinbase_suffix=bytes(90))
    channel = Channel(cast(ChannelLink, link), "unit", "account.unit", "192.0.2.1", b"\x00\x01", 2)
    router.choose_session = lambda channel: session
    router.open_channel(channel, None, None)
    sent = link.sent
    found = shares(upstream.job, sent.wire.wire_id, channel.prefix)
    ready = [next(found) for _ in range(SHARES)]
    lines = [_line(share) for share in ready]
    header_and_more = _hash_floor(path)

    def floor() -> None:
        for _ in range(SHARES):
            header_and_more()

    def decode() -> None:
        connection = ServerConnection()
        connection.feed(b"".join(lines))
        while connection.next_event() is not None:
            pass

    def judge() -> None:
        upstream.seen.clear()
        for share in ready:
            channel.judge(share)

    def route() -> None:
        upstream.seen.clear()
        session.taken.clear()
        for share in ready:
            desk.submit(channel, share, b"1")

    def encode() -> None:
        client = _ready_client()
        for share in ready:
            client.submit("account", "job", b"\x00" * 8, share.ntime, share.nonce, share.version_bits)

    base = cpu_us(floor)
    print(f"{SHARES} shares, {BRANCHES} merkle branches; CPU of one share")
    print(f"{'floor: its hashes':42} {base:7.2f} us   1.00")
    for name, work in [
        ("decode mining.submit", decode),
        ("judge (hashes, target, duplicate)", judge),
        ("route (judge, account, hand to the pool)", route),
        ("encode for the pool", encode),
    ]:
        cost = cpu_us(work)
        print(f"{name:42} {cost:7.2f} us   {cost / base:.2f}")


def _line(share: ShareCoordinates) -> bytes:
    return b'{"id":7,"method":"mining.submit","params":["account.unit","%s","%s","%08x","%08x"]}\n' % (
        share.job_id.encode(),
        share.extranonce2.hex().encode(),
        share.ntime,
        share.nonce,
    )


def _ready_client() -> ClientConnection:
    """A client whose handshake is done."""
    client = ClientConnection()
    for line, result in ((client.subscribe("bench"), b'[[],"00",4]'), (client.authorize("account", "x"), b"true")):
        client.feed(b'{"id":%d,"result":%b,"error":null}\n' % (orjson.loads(line)["id"], result))
        client.next_event()
    return client


def _hash_floor(path: tuple[bytes, ...]) -> Callable[[], None]:
    empty = hashlib.sha256().copy
    sizes = [204, *(64 for _ in path), 80]
    inputs = [bytes(size) for size in sizes]

    def hash_all() -> None:
        for data in inputs:
            inner = empty()
            inner.update(data)
            outer = empty()
            outer.update(inner.digest())
            outer.digest()

    return hash_all


if __name__ == "__main__":
    main()
