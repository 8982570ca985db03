"""Units that send real shares as fast as they are asked to, and keep the fingerprint of each."""

import hashlib
import itertools
import struct
from collections.abc import Iterator

import trio

from protocol.bitcoin.target import target_from_difficulty
from tests.support.rig import Miner

KEY_BYTES = 16


def _sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def shares(hello: dict[str, object], job: dict[str, object], difficulty: float) -> Iterator[tuple[list[str], bytes]]:
    """Every share of a job, one after the other: parameters of its submit after the worker name, and its key in the ledger."""
    _, extranonce1, size = hello["result"]  # type: ignore[misc]  # the form of SV1
    job_id, prev, coinbase1, coinbase2, path, version, nbits, ntime, _ = job["params"]  # type: ignore[misc]
    target = target_from_difficulty(difficulty)
    for number in itertools.count():
        extranonce2 = number.to_bytes(size, "big")
        root = _sha256d(bytes.fromhex(coinbase1) + bytes.fromhex(extranonce1) + extranonce2 + bytes.fromhex(coinbase2))
        for branch in path:
            root = _sha256d(root + bytes.fromhex(branch))
        prev_hash = b"".join(bytes.fromhex(prev)[i : i + 4][::-1] for i in range(0, 32, 4))
        head = struct.pack("<I", int(version, 16)) + prev_hash + root + struct.pack("<II", int(ntime, 16), int(nbits, 16))
        for nonce in range(4_096):
            digest = _sha256d(head + struct.pack("<I", nonce))
            if int.from_bytes(digest, "little") <= target:
                yield [job_id, extranonce2.hex(), ntime, f"{nonce:08x}"], digest[:KEY_BYTES]


class HashingUnit:
    """Keeps `window` shares under way. `acknowledged`: keys of those that its socket saw answered `true`."""

    def __init__(self, worker: str, difficulty: float, window: int) -> None:
        self.worker = worker
        self.acknowledged: set[bytes] = set()
        self.refused: list[object] = []
        self.first_job_id: str | None = None
        self._news = trio.Event()
        self._difficulty = difficulty
        self._window = window

    async def reach(self, count: int) -> None:
        """Wait until so many shares were acknowledged."""
        while len(self.acknowledged) < count:
            await self._news.wait()

    async def run(self, address: tuple[str, int]) -> None:
        """Connect and hash until the other side goes, or until cancelled."""
        try:
            await self._hash(Miner(await trio.open_tcp_stream(*address)))
        except (trio.EndOfChannel, trio.BrokenResourceError):
            return

    async def _hash(self, miner: Miner) -> None:
        hello = await miner.hello(self.worker)
        job = await miner.expect("mining.notify")
        found = shares(hello, job, self._difficulty)
        self.first_job_id = str(job["params"][0])  # type: ignore[index]
        asked: dict[int, bytes] = {}
        while True:
            while len(asked) < self._window:
                params, key = next(found)
                asked[await miner.send("mining.submit", self.worker, *params)] = key
            answer = await miner.read()
            key = asked.pop(answer.get("id"), None)  # type: ignore[call-overload]
            if answer.get("result") is True and key is not None:
                self.acknowledged.add(key)
                self._news.set()
                self._news = trio.Event()
            elif key is not None:
                self.refused.append(answer["error"])
            newer = miner.of("mining.notify")[-1]
            if newer is not job:
                job, found = newer, shares(hello, newer, self._difficulty)
            miner.lines[:] = [newer]
