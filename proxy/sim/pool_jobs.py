"""What a simulated pool gives out: a chain of block templates with real coinbases, merkle paths and header fields.

Nothing here knows connections, sockets or shares: `Chain` makes templates, `Template.job` cuts the coinbase for one extranonce
size. The transactions behind the merkle path do not exist (a share never needs them), so the path is drawn from the generator.
"""

import random
import struct

import msgspec

from protocol.bitcoin.target import target_from_nbits
from protocol.mining.job import Job

# BIP 9 base version, the header version every pool sends today.
HEADER_VERSION = 0x20000000
# A header may be this far ahead of a node's clock; pools accept rolled time up to it.
MAX_NTIME_AHEAD_S = 7_200
# Consensus: the script of a coinbase's input is 2 to 100 bytes.
MAX_SCRIPT_BYTES = 100
_TAG = b"/thermostratum sim/"
_REWARD_SAT = 312_500_000
_INPUT_HEAD = struct.pack("<I", 1) + b"\x01" + bytes(32) + b"\xff\xff\xff\xff"


class Template(msgspec.Struct, frozen=True, gc=False):
    """One block template. Hashes are internal order; payout is the output script the reward goes to."""

    job_id: str
    height: int
    prev_hash: bytes
    merkle_path: tuple[bytes, ...]
    commitment: bytes
    payout: bytes
    nbits: int
    ntime: int
    clean: bool

    def job(self, extranonce_bytes: int, target: int, version_mask: int) -> Job:
        """The neutral job whose coinbase has room for `extranonce_bytes` (extranonce1 and 2 together).

        target, version_mask: what the connection it goes to was told, frozen with the job. Raises ValueError when the script of
        the coinbase would be longer than consensus allows.
        """
        script_head = _push_height(self.height) + bytes([len(_TAG)]) + _TAG + bytes([extranonce_bytes])
        script_bytes = len(script_head) + extranonce_bytes
        if script_bytes > MAX_SCRIPT_BYTES:
            raise ValueError(
                f"an extranonce of {extranonce_bytes} bytes makes a coinbase script of {script_bytes}, 100 is the limit"
            )
        return Job(
            prev_hash=self.prev_hash,
            version=HEADER_VERSION,
            nbits=self.nbits,
            ntime=self.ntime,
            coinbase_prefix=_INPUT_HEAD + bytes([script_bytes]) + script_head,
            coinbase_suffix=self._suffix(),
            merkle_path=self.merkle_path,
            target=target,
            network_target=target_from_nbits(self.nbits),
            version_mask=version_mask,
            min_ntime=self.ntime,
            max_ntime=self.ntime + MAX_NTIME_AHEAD_S,
            clean=self.clean,
        )

    def _suffix(self) -> bytes:
        """Sequence, the reward, the witness commitment (BIP 141) and lock time."""
        reward = struct.pack("<Q", _REWARD_SAT) + bytes([len(self.payout)]) + self.payout
        witness = struct.pack("<Q", 0) + b"\x26\x6a\x24\xaa\x21\xa9\xed" + self.commitment
        return b"\xff\xff\xff\xff\x02" + reward + witness + bytes(4)


class Chain:
    """The chain tip as one pool sees it. Same seed and clock, same templates."""

    def __init__(self, rng: random.Random, nbits: int, merkle_branches: int, job_prefix: str = "") -> None:
        self._rng = rng
        self._nbits = nbits
        self._branches = merkle_branches
        self._prefix = job_prefix
        self._payout = b"\x00\x14" + rng.randbytes(20)
        self._prev_hash = _hash_below_work(rng)
        self._made = 0
        self.height = 900_000 + rng.randrange(10_000)

    def advance(self) -> None:
        """A block was found somewhere: the next template builds on it."""
        self.height += 1
        self._prev_hash = _hash_below_work(self._rng)

    def template(self, ntime: int, clean: bool) -> Template:
        """A new template on the present tip; its job id was never used before by this chain."""
        self._made += 1
        return Template(
            job_id=f"{self._prefix}{self._made:x}",
            height=self.height,
            prev_hash=self._prev_hash,
            merkle_path=tuple(self._rng.randbytes(32) for _ in range(self._branches)),
            commitment=self._rng.randbytes(32),
            payout=self._payout,
            nbits=self._nbits,
            ntime=ntime,
            clean=clean,
        )


def _push_height(height: int) -> bytes:
    """BIP 34: the height as a minimal script number, pushed."""
    size = height.bit_length() // 8 + 1
    return bytes([size]) + height.to_bytes(size, "little")


def _hash_below_work(rng: random.Random) -> bytes:
    """A previous hash that looks like one: its most significant bytes (the last, internal order) are zero."""
    return rng.randbytes(22) + bytes(10)
