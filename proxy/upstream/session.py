"""What every kind of session with a pool has in common: what it tells its pool, what the pool asks of it, and the limits that hold
for all of them. It opens nothing and speaks no protocol: see v1 and v2.
"""

import abc
import ssl
from collections.abc import Callable

import msgspec
import structlog

from protocol.v2.keys import parse_pool_url
from proxy.config import Pool as PoolConfig
from proxy.errors import PoolError
from proxy.events import EventLog
from proxy.upstream.pending import PendingShares
from proxy.work.geometry import Geometry
from proxy.work.jobs import ForwardedShare, UpstreamJob, is_same_work

log = structlog.get_logger()

USER_AGENT = "thermostratum/0.1"
# Common pools accept a header time up to 7,000 s after the job's.
MAX_NTIME_ROLL_S = 7_000
# Bitcoin's own bound for the future is 2 h; a job further off than this is a lie, or our clock is wrong.
MAX_NTIME_SKEW_S = 7_200
MAX_BAD_IN_A_ROW = 10
MAX_JOBS_REMEMBERED = 64
MAX_REDIRECT_WAIT_S = 60.0


class Redirect(PoolError):
    """The pool asked for another of its hosts, and may."""

    def __init__(self, host: str, port: int, wait_s: float) -> None:
        super().__init__(f"to {host}:{port}")
        self.host = host
        self.port = port
        self.wait_s = wait_s


class Resume(msgspec.Struct, frozen=True):
    """What the last connection had, for the next one to ask for or to compare with."""

    session_id: str | None
    extranonce1: bytes
    jobs: dict[str, UpstreamJob]


class SessionEvents:
    """What a session tells its pool: each a plain call."""

    def __init__(
        self,
        *,
        ready: Callable[["PoolSession"], None],
        job: Callable[[UpstreamJob], None],
        message: Callable[[str], None],
    ) -> None:
        self.ready = ready
        self.job = job
        self.message = message


class SessionParts(msgspec.Struct, frozen=True):
    """What a pool gives each of its sessions, whatever it speaks. clock: monotonic seconds."""

    config: PoolConfig
    session_id: int
    user: str
    geometry: Geometry
    pending: PendingShares
    hooks: SessionEvents
    events: EventLog
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    resume: Resume | None


class BadMessages:
    """Messages of one pool that cannot be used. Some happen; too many in a row end the connection."""

    __slots__ = ("_in_a_row", "_pool")

    def __init__(self, pool: str) -> None:
        self._pool = pool
        self._in_a_row = 0

    def forgive(self) -> None:
        """A good one came, or a new connection."""
        self._in_a_row = 0

    def refuse(self, method: str, reason: str) -> None:
        """One more. Raises PoolError when it is one too many."""
        self._in_a_row += 1
        log.warning("pool.message_refused", pool=self._pool, method=method, reason=reason)
        if self._in_a_row >= MAX_BAD_IN_A_ROW:
            raise PoolError(f"{MAX_BAD_IN_A_ROW} unusable messages in a row, the last: {method}: {reason}")


class PoolSession(abc.ABC):
    """An `UpstreamSession`: made for one connection or channel, never reused. What V1 and V2 have in common."""

    def __init__(self, parts: SessionParts) -> None:
        self.pool = parts.config.name
        self.session_id = parts.session_id
        self.current: UpstreamJob | None = None
        self.difficulty = 1.0
        self.version_mask = 0
        self.extranonce1: bytes | None = None
        self.extranonce2_size: int | None = None
        self.job_times_s: list[float] = []
        self.ready_since_s: float | None = None
        self._config = parts.config
        self._user = parts.user
        self._geometry = parts.geometry
        self._pending = parts.pending
        self._hooks = parts.hooks
        self._events = parts.events
        self._clock = parts.clock
        self._wall_clock = parts.wall_clock
        self._resume = parts.resume
        self._bad = BadMessages(parts.config.name)
        self._epoch = 0
        self._jobs: dict[str, UpstreamJob] = {}

    @property
    def is_alive(self) -> bool:
        """The handshake is done, or the channel open, and nothing has broken."""
        return self.ready_since_s is not None

    def job_age_s(self, now_s: float) -> float | None:
        """Seconds since the last job; None before the first."""
        return now_s - self.job_times_s[-1] if self.job_times_s else None

    @abc.abstractmethod
    async def run(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Serve until it breaks. Raises PoolError with the reason, or Redirect."""

    @abc.abstractmethod
    def submit(self, share: ForwardedShare) -> bool:
        """See UpstreamSession."""

    @abc.abstractmethod
    def to_resume(self) -> Resume | None:
        """For the next session of this slot; None where there is nothing to go on from."""

    def _is_believable(self, method: str, ntime: int) -> bool:
        """Whether a job may be of this time. One that may not is a bad message; see BadMessages."""
        complaint = complain_of_ntime(ntime, self._wall_clock())
        if complaint is not None:
            self._bad.refuse(method, complaint)
            return False
        self._bad.forgive()
        return True

    def _take_job(self, upstream: UpstreamJob) -> None:
        """Work on this from now on."""
        remember(self._jobs, upstream)
        self.current = upstream
        self.job_times_s = [*self.job_times_s[-20:], upstream.arrived_s]
        self._hooks.job(upstream)


def is_v2(url: str) -> bool:
    """Whether a pool's url means Stratum V2."""
    return url.startswith("stratum2+")


def host_and_port(url: str) -> tuple[str, int]:
    """The address in a pool's url (its form was checked with the config)."""
    if is_v2(url):
        address = parse_pool_url(url)
        return address.host, address.port
    host, _, port = url.partition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def complain_of_ntime(ntime: int, now_unix_s: float) -> str | None:
    """Why a job of this time is not to be believed; None where it is."""
    skew_s = ntime - now_unix_s
    if abs(skew_s) > MAX_NTIME_SKEW_S:
        return f"ntime is {skew_s:+.0f} s from this machine's clock (check both clocks)"
    return None


def remember(jobs: dict[str, UpstreamJob], upstream: UpstreamJob) -> None:
    """Enter a new job among the session's. A clean one retires all others; an id used again retires the job that had it.

    Some pools send the work they sent before: for a new difficulty, as a sign of life, or when they resume a session.
    """
    for earlier in reversed(jobs.values()):
        if is_same_work(earlier.job, upstream.job):
            upstream.continues(earlier)
            break
    if upstream.job.clean:
        for old in jobs.values():
            old.retired = True
        jobs.clear()
    elif (reused := jobs.pop(upstream.upstream_id, None)) is not None:
        reused.retired = True
    jobs[upstream.upstream_id] = upstream
    while len(jobs) > MAX_JOBS_REMEMBERED:
        jobs.pop(next(iter(jobs))).retired = True
