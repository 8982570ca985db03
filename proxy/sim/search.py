"""How a simulated miner walks through the work of a job: which header comes next, and what a find in it consists of.

The same for every protocol: a session turns its jobs into a `Puzzle` and a `Find` into its own kind of share. No header is hashed
twice within one Puzzle. Nothing here knows connections; the hashing itself is `hasher.Work`.
"""

from collections.abc import Iterator

import msgspec

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.header import pack_header
from protocol.bitcoin.merkle import root_from_path
from proxy.sim.hasher import Work

# Nonces on one header before something else is rolled. Hardware rolls versions all the time; here often enough to be exercised.
HASHES_PER_HEADER = 2_048
HEADERS_PER_EXTRANONCE2 = 8


class Coinbase(msgspec.Struct, frozen=True, gc=False):
    """Where `rolled_bytes` bytes of the miner's own go; what is before them includes every fixed part of the extranonce."""

    head: bytes
    tail: bytes
    merkle_path: tuple[bytes, ...]
    rolled_bytes: int


class Puzzle(msgspec.Struct, frozen=True, gc=False):
    """A job as a search sees it. content: the coinbase, or only the merkle root (header-only mining).

    target: the largest hash value that counts. version_mask: the bits to roll, None where rolling was not negotiated.
    """

    content: Coinbase | bytes
    prev_hash: bytes
    version: int
    nbits: int
    ntime: int
    target: int
    version_mask: int | None


class Find(msgspec.Struct, frozen=True, gc=False):
    """A header that met the target. version is the whole field, version_bits the rolled ones (None: not rolled)."""

    nonce: int
    ntime: int
    version: int
    version_bits: int | None
    extranonce2: bytes


class Search:
    """Where one miner is in its present puzzle."""

    def __init__(self, first_extranonce2: int) -> None:
        """first_extranonce2: firmware begins anywhere."""
        self._puzzle: Puzzle | None = None
        self._work: Work | None = None
        self._extranonce2 = first_extranonce2
        self._headers = 0
        self._ntime = 0
        self._version = 0
        self._version_bits: int | None = None

    @property
    def has_work(self) -> bool:
        """There is something to hash."""
        return self._work is not None

    @property
    def puzzle(self) -> Puzzle | None:
        """What is worked on now."""
        return self._puzzle if self._work is not None else None

    def begin(self, puzzle: Puzzle, *, restart: bool = False) -> None:
        """Leave the old puzzle for this one. restart: count the extranonce from 0 again, as some firmware does."""
        if restart:
            self._extranonce2 = 0
        self._puzzle = puzzle
        self._headers = 0
        self._ntime = puzzle.ntime
        self._roll()

    def stop(self) -> None:
        """No work until the next `begin`."""
        self._puzzle = None
        self._work = None

    def hash(self, count: int) -> Iterator[Find]:
        """Try `count` hashes. A header is left for the next one in time, so no work is done twice.

        The caller may `begin` or `stop` between two finds.
        """
        while count > 0 and (work := self._work) is not None:
            turn = min(count, HASHES_PER_HEADER - work.next_nonce)
            version, bits, ntime, extranonce2 = self._version, self._version_bits, self._ntime, self._rolled()
            for nonce in work.search(turn):
                yield Find(nonce, ntime, version, bits, extranonce2)
            count -= turn
            if work is self._work and work.next_nonce >= HASHES_PER_HEADER:
                self._roll()

    def _roll(self) -> None:
        """A header nobody has hashed: other version bits where they may be rolled, every now and then another extranonce2.

        Without a coinbase, the time is what is left to roll.
        """
        puzzle = self._puzzle
        if puzzle is None or (isinstance(puzzle.content, Coinbase) and not puzzle.content.rolled_bytes):
            self._work = None
            return
        mask = puzzle.version_mask or 0
        turns = min(HEADERS_PER_EXTRANONCE2, 1 << mask.bit_count())
        if isinstance(puzzle.content, Coinbase):
            if self._headers % turns == 0:
                self._extranonce2 = (self._extranonce2 + 1) % (1 << 8 * puzzle.content.rolled_bytes)
            content = puzzle.content
            coinbase = content.head + self._rolled() + content.tail
            root = root_from_path(sha256d(coinbase), content.merkle_path)
            number = self._headers % turns
        else:
            root = puzzle.content
            number = self._headers % (1 << mask.bit_count())
            self._ntime = puzzle.ntime + (self._headers >> mask.bit_count())
        self._version_bits = spread_bits(number, mask) if mask else None
        self._version = puzzle.version if self._version_bits is None else (puzzle.version & ~mask) | self._version_bits
        self._headers += 1
        header = pack_header(self._version, puzzle.prev_hash, root, self._ntime, puzzle.nbits, 0)
        self._work = Work(header, puzzle.target)

    def _rolled(self) -> bytes:
        puzzle = self._puzzle
        if puzzle is None or not isinstance(puzzle.content, Coinbase):
            return b""
        return self._extranonce2.to_bytes(puzzle.content.rolled_bytes, "big")


def spread_bits(number: int, mask: int) -> int:
    """The bits of `number`, lowest first, laid into the set bits of `mask`, lowest first; what does not fit is dropped."""
    spread = 0
    while number and mask:
        low_bit = mask & -mask
        if number & 1:
            spread |= low_bit
        mask ^= low_bit
        number >>= 1
    return spread
