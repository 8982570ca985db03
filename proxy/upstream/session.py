"""What every kind of session with a pool has in common: what it tells its pool, what the pool asks of it, and the limits that hold
for all of them. It opens nothing and speaks no protocol: see v1 and v2.
"""

import ssl
from collections.abc import Callable
from typing import Protocol

import msgspec
import trio

from protocol.errors import RemoteProtocolError
from protocol.v2.keys import parse_pool_url
from proxy.errors import PoolError
from proxy.work.jobs import UpstreamJob, UpstreamSession, is_same_work

USER_AGENT = "thermostratum/0.1"
# Some 30,000 shares: what a burst of all units makes between two turns of the loop, never what a pool that does not read leaves.
MAX_UNSENT_BYTES = 4 * 1_048_576
# Common pools accept a header time up to 7,000 s after the job's.
MAX_NTIME_ROLL_S = 7_000
# Bitcoin's own bound for the future is 2 h; a job further off than this is a lie, or our clock is wrong.
MAX_NTIME_SKEW_S = 7_200
MAX_BAD_IN_A_ROW = 10
MAX_JOBS_REMEMBERED = 64
MAX_REDIRECT_WAIT_S = 60.0

# What a pool, a network or a firewall in between can cause. Everything else is our bug and must be seen as one.
EXPECTED = (PoolError, RemoteProtocolError, OSError, ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError)


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


class PoolSession(UpstreamSession, Protocol):
    """A session as its pool sees it: made for one connection or channel, never reused."""

    version_mask: int
    extranonce1: bytes | None
    extranonce2_size: int | None
    job_times_s: list[float]
    bad_messages: int
    ready_since_s: float | None

    async def run(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Serve until it breaks. Raises PoolError with the reason, or Redirect."""
        ...

    def job_age_s(self, now_s: float) -> float | None:
        """Seconds since the last job; None before the first."""
        ...

    def to_resume(self) -> Resume | None:
        """For the next session of this slot; None where there is nothing to go on from."""
        ...


class SessionEvents:
    """What a session tells its pool: each a plain call."""

    def __init__(
        self,
        *,
        ready: Callable[[PoolSession], None],
        job: Callable[[UpstreamJob], None],
        message: Callable[[str], None],
    ) -> None:
        self.ready = ready
        self.job = job
        self.message = message


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


def as_pool_error(error: Exception) -> PoolError:
    """Any of EXPECTED, in words for the operator."""
    if isinstance(error, PoolError):
        return error
    if isinstance(error, RemoteProtocolError):
        return PoolError(f"the pool broke the protocol: {error.reason}")
    return PoolError(f"connection lost: {innermost(error) or type(error).__name__}")


def innermost(error: BaseException) -> str:
    """What the operator can act on: of several addresses tried, the last one's reason, not that all failed."""
    cause = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[-1]
    return str(cause)
