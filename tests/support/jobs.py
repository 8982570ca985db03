"""Jobs and shares for tests: real hashes, easy targets."""

import hashlib
import itertools
from collections.abc import Iterator

from protocol.bitcoin.target import target_from_difficulty
from protocol.mining.job import VERSION_MASK_BIP320, Job
from protocol.mining.share import hash_share
from proxy.work.channel import ShareCoordinates
from proxy.work.geometry import Fit
from proxy.work.jobs import ForwardedShare, UpstreamJob

EASY = 2.0**-28  # about 16 hashes a share
NTIME = 1_790_000_000


def make_job(number: int = 1, *, difficulty: float = EASY, clean: bool = True, network_target: int = 0, ntime: int = NTIME) -> Job:
    """A job that differs from others by `number`; no hash meets its network target unless one is given."""
    return Job(
        prev_hash=hashlib.sha256(b"prev%d" % number).digest(),
        version=0x20000000,
        nbits=0x1D00FFFF,
        ntime=ntime,
        coinbase_prefix=b"\x01\x00\x00\x00 prefix %d " % number,
        coinbase_suffix=b" suffix",
        merkle_path=(hashlib.sha256(b"branch").digest(),),
        target=target_from_difficulty(difficulty),
        network_target=network_target,
        version_mask=VERSION_MASK_BIP320,
        min_ntime=ntime,
        max_ntime=ntime + 7_000,
        clean=clean,
    )


class FakeSession:
    """An upstream session that takes shares and keeps them."""

    def __init__(self, pool: str = "pool-a", session_id: int = 1) -> None:
        self.pool = pool
        self.session_id = session_id
        self.current: UpstreamJob | None = None
        self.difficulty = EASY
        self.is_alive = True
        self.has_room = True
        self.taken: list[ForwardedShare] = []
        self.epoch = 0

    def submit(self, share: ForwardedShare) -> bool:
        """Take the share unless told to be full or dead."""
        if not self.is_alive or not self.has_room:
            return False
        self.taken.append(share)
        return True

    def job(self, number: int, *, clean: bool = True, difficulty: float = EASY, network_target: int = 0) -> UpstreamJob:
        """The session's next job."""
        if clean and self.current is not None:
            self.current.retired = True
        self.epoch += int(clean)
        upstream = UpstreamJob(
            make_job(number, difficulty=difficulty, clean=clean, network_target=network_target),
            self,
            f"up{number}",
            Fit(b"\xee\xee", 4),
            difficulty=difficulty,
            epoch=self.epoch,
            arrived_s=0.0,
        )
        self.current = upstream
        return upstream


def shares(
    job: Job, job_id: str, prefix: bytes, *, target: int | None = None, version_bits: int | None = None, ntime: int | None = None
) -> Iterator[ShareCoordinates]:
    """Real shares of `job` for the unit with `prefix` and two bytes of extranonce2, one after the other."""
    wanted = job.target if target is None else target
    when = job.ntime if ntime is None else ntime
    version = job.version if version_bits is None else job.version & ~VERSION_MASK_BIP320 | version_bits
    for nonce in itertools.count():
        extranonce2 = (nonce >> 20).to_bytes(2, "big")
        if int.from_bytes(hash_share(job, prefix + extranonce2, when, nonce, version), "little") <= wanted:
            yield ShareCoordinates(job_id, extranonce2, when, nonce, version_bits)
