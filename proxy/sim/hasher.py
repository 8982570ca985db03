"""Real proof of work at a scaled-down rate, for many simulated miners in one task.

`Work` is one search: a header's midstate and the nonces still to try. `Hasher` gives every `Rig` its hashes for each tick and hands
back what it found. It knows no protocol: a rig decides what work there is and what a find means.
"""

import hashlib
import struct
from typing import Protocol

import trio

TICK_S = 0.25
# After a stall (a suspended laptop) a rig does not make up for lost time: that would be a burst no machine could make.
MAX_CATCH_UP_S = 2.0
# Rigs between two checkpoints: about a millisecond of hashing, so that sockets and vendor APIs of the same process stay quick.
RIGS_PER_SLICE = 12
_NONCE = struct.Struct("<I")
_NONCE_LIMIT = 1 << 32


class Work:
    """The nonces of one header. `target` is the largest hash value that counts."""

    __slots__ = ("_copy", "_tail", "next_nonce", "target")

    def __init__(self, header: bytes, target: int) -> None:
        """`header`: 80 bytes, the nonce in the last four is not used."""
        # SHA-256 works on 64-byte blocks: the first block of a header is the same for all nonces, so it is hashed once.
        self._copy = hashlib.sha256(header[:64]).copy
        self._tail = header[64:76]
        self.target = target
        self.next_nonce = 0

    def search(self, count: int) -> list[int]:
        """Try the next `count` nonces (fewer when the header is used up); the ones that meet the target."""
        end = min(self.next_nonce + count, _NONCE_LIMIT)
        copy, tail, sha256, pack = self._copy, self._tail, hashlib.sha256, _NONCE.pack
        # Comparing the most significant byte first leaves the slow exact comparison to the few that may pass it.
        top = self.target >> 248
        found: list[int] = []
        for nonce in range(self.next_nonce, end):
            inner = copy()
            inner.update(tail + pack(nonce))
            digest = sha256(inner.digest()).digest()
            if digest[31] <= top and int.from_bytes(digest, "little") <= self.target:
                found.append(nonce)
        self.next_nonce = end
        return found


class Rig(Protocol):
    """What a hasher needs of a machine."""

    def hashrate_hps(self) -> float:
        """Hashes a second right now; 0 asleep."""

    def hash(self, count: int) -> None:
        """Try `count` hashes on whatever work there is (none is fine) and keep what was found. Must not block or raise."""


class Hasher:
    """Shares one core between rigs, in proportion to their hashrates."""

    def __init__(self, tick_s: float = TICK_S) -> None:
        self._tick_s = tick_s
        self._owed: dict[Rig, float] = {}
        self.hashes = 0
        self.is_paused = False  # nobody hashes, everything else goes on

    def add(self, rig: Rig) -> None:
        """From the next tick on, hash for this rig."""
        self._owed[rig] = 0.0

    def remove(self, rig: Rig) -> None:
        """Stop hashing for this rig; one that is not there is no error."""
        self._owed.pop(rig, None)

    async def run(self) -> None:
        """Hash until cancelled. A rig gets rate x elapsed hashes each tick, fractions carried over."""
        last_s = trio.current_time()
        while True:
            await trio.sleep(self._tick_s)
            now_s = trio.current_time()
            elapsed_s = min(now_s - last_s, MAX_CATCH_UP_S)
            last_s = now_s
            if self.is_paused:
                continue
            for index, rig in enumerate(list(self._owed)):
                if index % RIGS_PER_SLICE == 0:
                    await trio.lowlevel.checkpoint()
                self._turn(rig, elapsed_s)

    def _turn(self, rig: Rig, elapsed_s: float) -> None:
        owed = self._owed.get(rig)
        if owed is None:  # removed while this tick was under way
            return
        owed += rig.hashrate_hps() * elapsed_s
        count = int(owed)
        self._owed[rig] = owed - count
        if count:
            rig.hash(count)
            self.hashes += count
