"""A Stratum V1 pool that is real in everything but its chain: own jobs, full judging of every share, sums of accepted work.

What it shares with the twin that speaks Stratum V2 is in `pool_core`; here are coordinates, and the faults that only V1 can have.
It does not speak TLS.
"""

import random
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Literal

import msgspec
import trio

from protocol.mining.job import VERSION_MASK_BIP320
from protocol.v1 import messages
from proxy.sim.pool_core import PoolCore, PoolCoreSpec
from proxy.sim.pool_faults import Faults
from proxy.sim.pool_session import PoolSession

RESUMABLE_SESSIONS = 4_096


class PoolSpec(PoolCoreSpec, frozen=True, kw_only=True):
    """How a pool that speaks Stratum V1 is set up."""

    extranonce1_bytes: int = 4
    extranonce2_bytes: int = 8
    version_mask: int = VERSION_MASK_BIP320  # 0: no version rolling
    first_job: Literal["subscribe", "authorize"] = "subscribe"
    one_burst: bool = True  # False: each line in a segment of its own
    follow_suggestion: bool = False
    resume_sessions: bool = True


class SimPool(PoolCore[PoolSession]):
    """One Stratum V1 pool."""

    def __init__(self, spec: PoolSpec, rng: random.Random, wall_clock: Callable[[], float]) -> None:
        self.spec = spec
        self.faults = Faults()
        super().__init__(spec, self.faults, rng, wall_clock)
        self.version_mask = spec.version_mask
        self.unknown_methods: Counter[str] = Counter()
        self._resumable: OrderedDict[str, bytes] = OrderedDict()
        self._next_extranonce1 = rng.getrandbits(8 * spec.extranonce1_bytes) if spec.extranonce1_bytes else 0

    def open_session(self, stream: trio.abc.Stream) -> PoolSession:
        """See PoolCore."""
        return PoolSession(self, stream)

    # --- what sessions ask

    def coordinates(self, session: PoolSession, wanted: str | None) -> tuple[str, bytes, bool]:
        """(session id, extranonce1, resumed) of a subscribing session.

        An asked-for session id is honoured when it is known and nobody is on it now.
        """
        old = self._resumable.get(wanted) if wanted is not None and self.spec.resume_sessions else None
        in_use = {other.extranonce1 for other in self.sessions if other is not session}
        if wanted is not None and old is not None and (old not in in_use or not old):
            return wanted, old, True
        extranonce1 = self._fresh_extranonce1()
        session_id = self.rng.randbytes(8).hex()
        self._resumable[session_id] = extranonce1
        while len(self._resumable) > RESUMABLE_SESSIONS:
            self._resumable.popitem(last=False)
        return session_id, extranonce1, False

    def _fresh_extranonce1(self) -> bytes:
        size = self.spec.extranonce1_bytes
        self._next_extranonce1 = (self._next_extranonce1 + 1) % (1 << 8 * size)
        return self._next_extranonce1.to_bytes(size, "big")

    # --- faults that are acts

    def send_broken_job(self, fault: str) -> None:
        """To everybody: the last job with one thing broken (a name of BAD_JOBS)."""
        self.each(lambda session: session.send_broken_job(fault))

    def send_raw(self, line: bytes) -> None:
        """To everybody: any bytes."""
        self.each(lambda session: session.send_line(line))

    def set_difficulty(self, difficulty: float) -> None:
        """For everybody and all to come; counts from each one's next job."""
        self.difficulty = difficulty
        self.each(lambda session: session.set_difficulty(difficulty))

    def set_extranonce(self, extranonce2_bytes: int | None = None) -> None:
        """Everybody gets a new extranonce1, with `extranonce2_bytes` also another size; then a job that uses it."""
        for session in self.sessions:
            if session.may_notify:
                size = session.extranonce2_bytes if extranonce2_bytes is None else extranonce2_bytes
                session.set_extranonce(self._fresh_extranonce1(), size)
        self.refresh()

    def shrink_version_mask(self, mask: int) -> None:
        """Everybody who rolls versions may roll fewer bits, from the job that follows."""
        self.version_mask &= mask
        self.each(lambda session: session.shrink_version_mask(mask))
        self.refresh()

    def ask_reconnect(self, host: str | None = None, port: int | None = None, wait_s: float = 0.0) -> None:
        """client.reconnect to everybody; both None: empty parameters, which means here again."""
        self.send_raw(messages.encode_reconnect(host, port, wait_s))

    def show_message(self, text: str) -> None:
        """client.show_message to everybody."""
        self.send_raw(messages.encode_show_message(text))

    def reuse_job_id(self) -> None:
        """A job with the id of the last one and other content, not clean."""
        self.template = msgspec.structs.replace(self.new_template(clean=False), job_id=self.template.job_id)
        self.publish()
