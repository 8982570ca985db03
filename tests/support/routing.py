"""A router between made-up ends: sessions and links that keep what they are given, a ledger without a disk."""

from collections.abc import Callable, Iterator

import msgspec

from protocol.mining.share import Verdict
from proxy.config import Vardiff
from proxy.events import EventLog
from proxy.ledger.records import ShareRecord
from proxy.work import vardiff
from proxy.work.channel import Channel, ShareCoordinates
from proxy.work.geometry import Geometry
from proxy.work.jobs import SentJob, UpstreamSession, WireJob
from proxy.work.router import Router
from proxy.work.shares import ShareDesk
from tests.support.jobs import EASY, FakeSession, shares


class FakeLedger:
    """Takes shares until told otherwise; the test says when they are durable."""

    def __init__(self) -> None:
        self.is_degraded = False
        self.records: list[ShareRecord] = []
        self.tokens: list[object] = []
        self.rejected: list[tuple[str, str, str]] = []  # unit, pool, verdict
        self._last_id = 0

    def next_share_id(self) -> int:
        """A new id."""
        self._last_id += 1
        return self._last_id

    def record_share(self, record: ShareRecord, token: object) -> bool:
        """Blocks are always taken."""
        if self.is_degraded and not record.block:
            return False
        self.records.append(record)
        self.tokens.append(token)
        return True

    def count_rejected(self, unit: str, pool: str, verdict: str, at_unix_s: float, difficulty: float) -> None:
        """Keep it."""
        self.rejected.append((unit, pool, verdict))


class Told(msgspec.Struct, frozen=True):
    """One job as a unit was told of it. difficulty: only where it was told with the job."""

    sent: SentJob
    clean: bool
    difficulty: float | None


class FakeLink:
    """The connection of a unit."""

    def __init__(self) -> None:
        self.jobs: list[Told] = []
        self.accepted: list[object] = []
        self.rejected: list[tuple[object, Verdict]] = []
        self.flushes = 0

    def send_job(self, sent: SentJob, *, clean: bool, new_difficulty: bool, new_mask: bool) -> None:
        """See ChannelLink."""
        self.jobs.append(Told(sent, clean, sent.difficulty if new_difficulty else None))

    def answer_accepted(self, token: object) -> None:
        """See ChannelLink."""
        self.accepted.append(token)

    def answer_rejected(self, token: object, verdict: Verdict) -> None:
        """See ChannelLink."""
        self.rejected.append((token, verdict))

    def flush(self) -> None:
        """See ChannelLink."""
        self.flushes += 1

    def close(self, reason: str) -> None:
        """See ChannelLink."""


class Bench:
    """A router and a desk with their surroundings. `now_s` is the clock; new units go to `session`."""

    def __init__(self, settings: Vardiff | None = None, *, passes_difficulty_through: bool = False) -> None:
        self.now_s = 0.0
        self.ledger = FakeLedger()
        self.events = EventLog(lambda: 0.0)
        self.session: UpstreamSession | None = FakeSession()
        self.links: dict[Channel, FakeLink] = {}
        self.wakes = 0
        self.router = Router(
            geometry=Geometry(2, 2),
            policy=vardiff.policy_from(settings or Vardiff(min_difficulty=2.0**-32, start_difficulty=EASY), settle_s=0.0),
            events=self.events,
            clock=lambda: self.now_s,
            first_job_id=0,
            passes_difficulty_through=passes_difficulty_through,
        )
        self.shares = ShareDesk(
            self.router,
            ledger=self.ledger,
            events=self.events,
            clock=lambda: self.now_s,
            wall_clock=lambda: 1_790_000_000.0 + self.now_s,
        )
        self.router.choose_session = lambda channel: self.session
        self.router.on_work = self._woken

    def _woken(self) -> None:
        self.wakes += 1

    def unit(
        self, name: str = "unit-1", *, mask: int = 0, typical_hps: float | None = None, suggested: float | None = None
    ) -> Channel:
        """A new connection of this unit."""
        link = FakeLink()
        channel = Channel(link, name, f"account.{name}", "192.0.2.1", len(self.links).to_bytes(2, "big"), 2)
        channel.negotiated_mask = channel.told_mask = mask
        self.links[channel] = link
        self.router.open_channel(channel, suggested, typical_hps)
        return channel

    def jobs(self, channel: Channel) -> list[Told]:
        """Every job that this unit was told of."""
        return self.links[channel].jobs

    def finds(self, channel: Channel, told: Told | None = None, **wanted: int) -> Iterator[ShareCoordinates]:
        """Real shares of a job that the unit was told of, by default the last."""
        sent = (told or self.jobs(channel)[-1]).sent
        return shares(sent.wire.job, sent.wire.wire_id, channel.prefix, **{"target": sent.target, **wanted})

    def fan_out(self, step: int = 50, before_each: Callable[[], None] = lambda: None) -> None:
        """Finish what is pending."""
        while self.router.is_fan_out_pending:
            before_each()
            self.router.fan_out_step(step)

    def names(self, event: str) -> list[dict[str, object]]:
        """Facts of every event of this name."""
        return [dict(each.facts) for each in self.events.since(0) if each.name == event]


def wires(told: list[Told]) -> list[WireJob]:
    """The wire jobs of what a unit was told."""
    return [each.sent.wire for each in told]
