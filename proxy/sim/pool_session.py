"""One connection of a simulated Stratum V1 pool: the conversation, the jobs this miner was given, its shares.

It asks protocol.v1 for every reading, so it is as strict as the product. Chain, listeners, judging and the totals of the whole pool
belong to `pool_core`.
"""

from collections import deque
from typing import TYPE_CHECKING

import trio

from protocol.bitcoin.target import difficulty_from_target, target_from_difficulty
from protocol.errors import RemoteProtocolError
from protocol.mining.share import Verdict
from protocol.v1 import messages
from protocol.v1.server import ServerConnection
from proxy.sim.pool_core import GOOD, SentJob, SentJobs
from proxy.sim.pool_faults import broken_notify, refusal_line
from proxy.sim.pool_jobs import Template

if TYPE_CHECKING:
    from proxy.sim.pool import SimPool

OUTPUT_LIMIT_BYTES = 1 << 20
SEND_TIMEOUT_S = 10.0
# Between two lines of a burst that is to arrive in pieces.
_PIECE_PAUSE_S = 0.02


class PoolSession:
    """Serves one stream until either side ends. All state changes are plain calls on the trio thread."""

    def __init__(self, pool: "SimPool", stream: trio.abc.Stream) -> None:
        self._pool = pool
        self._stream = stream
        self._conn = ServerConnection()
        self._out: deque[bytes] = deque()
        self._out_bytes = 0
        self._out_ready = trio.Event()
        self._closing = False
        self._nursery: trio.Nursery | None = None
        self._jobs: SentJobs[str] = SentJobs()
        self._users: set[str] = set()
        self._version_mask: int | None = None  # None: not negotiated
        self._last_line = b""
        self.extranonce1 = b""
        self.extranonce2_bytes = pool.spec.extranonce2_bytes
        self.difficulty = pool.difficulty
        self.user_agent: str | None = None
        self.resumed = False
        self.accepted = 0
        self.accepted_work = 0.0

    async def run(self) -> None:
        """Serve until the peer hangs up, breaks the protocol, or the pool resets the connection."""
        if self._pool.faults.drop_after == "connect":
            await trio.aclose_forcefully(self._stream)
            return
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._write)
                await self._read()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the other side is gone, or `reset` was called: a normal end of a connection
        finally:
            self._closing = True
            await trio.aclose_forcefully(self._stream)

    def reset(self) -> None:
        """End the connection at once, like a process that died."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    @property
    def may_notify(self) -> bool:
        """The connection has had its answers and may be sent jobs."""
        if self._closing or not self._conn.is_subscribed:
            return False
        return self._conn.is_authorized or self._pool.spec.first_job == "subscribe"

    def send_line(self, line: bytes) -> None:
        """Queue raw bytes. A peer that lets a megabyte pile up is cut off."""
        if self._closing or not line:
            return
        self._out.append(line)
        self._out_bytes += len(line)
        self._out_ready.set()
        if self._out_bytes > OUTPUT_LIMIT_BYTES:
            self.reset()

    def send_job(self, template: Template, clean: bool | None = None) -> None:
        """Send this template as a job with the connection's own target, mask and extranonce frozen in it."""
        mask = self._version_mask or 0
        size = len(self.extranonce1) + self.extranonce2_bytes
        job = template.job(size, target_from_difficulty(self.difficulty), mask)
        is_clean = template.clean if clean is None else clean
        self._jobs.add(template.job_id, SentJob(job, self.extranonce1, self.extranonce2_bytes), is_clean)
        self._last_line = messages.encode_notify(template.job_id, job, is_clean)
        self.send_line(self._last_line)

    def send_broken_job(self, fault: str) -> None:
        """Repeat the last job with one thing of it broken (a name of BAD_JOBS)."""
        self.send_line(broken_notify(self._last_line, fault))

    def set_difficulty(self, difficulty: float) -> None:
        """Tell the miner; counts for jobs sent from now on."""
        self.difficulty = difficulty
        self.send_line(messages.encode_set_difficulty(difficulty))

    def set_extranonce(self, extranonce1: bytes, extranonce2_bytes: int) -> None:
        """Tell the miner; counts for jobs sent from now on."""
        self.extranonce1, self.extranonce2_bytes = extranonce1, extranonce2_bytes
        self.send_line(messages.encode_set_extranonce(extranonce1, extranonce2_bytes))

    def shrink_version_mask(self, mask: int) -> None:
        """Tell a miner that negotiated version rolling; others are left alone."""
        if self._version_mask is not None and self._conn.is_authorized:
            self._version_mask &= mask
            self.send_line(self._conn.set_version_mask(self._version_mask))

    # --- reading

    async def _read(self) -> None:
        while True:
            await self._pool.thawed()
            data = await self._stream.receive_some(65_536)
            if not data:
                return
            await self._pool.thawed()
            self._conn.feed(bytes(data))
            try:
                while (event := self._conn.next_event()) is not None:
                    self._handle(event)
            except RemoteProtocolError as exc:
                self._pool.protocol_errors.append(exc.reason)
                with trio.move_on_after(SEND_TIMEOUT_S):
                    await self._stream.send_all(exc.reply)
                return

    async def _write(self) -> None:
        while True:
            await self._out_ready.wait()
            await self._pool.thawed()
            if self._pool.spec.one_burst:
                piece = b"".join(self._out)
                self._out.clear()
            else:
                piece = self._out.popleft()
            self._out_bytes -= len(piece)
            if not self._out:
                self._out_ready = trio.Event()
            with trio.fail_after(SEND_TIMEOUT_S):
                await self._stream.send_all(piece)
            if not self._pool.spec.one_burst:
                await trio.sleep(_PIECE_PAUSE_S)

    # --- the conversation

    def _handle(self, event: messages.ClientEvent) -> None:
        match event:
            case messages.Submit():
                self._submit(event)
            case messages.Subscribe():
                self._subscribe(event)
            case messages.Authorize():
                self._authorize(event)
            case messages.Configure():
                self._configure(event)
            case messages.SuggestDifficulty():
                self._suggest(event.difficulty)
            case _:
                self._handle_rare(event)

    def _handle_rare(self, event: messages.ClientEvent) -> None:
        match event:
            case messages.SuggestTarget():
                self._suggest(difficulty_from_target(event.target))
            case messages.BadRequest():
                self.send_line(self._conn.error(event.id, event.code, event.reason))
            case messages.UnknownRequest():
                self._pool.unknown_methods[event.method] += 1
                self.send_line(self._conn.error(event.id, 20, "Unknown method"))
            case messages.ExtranonceSubscribe():
                self.send_line(self._conn.result(event.id, True))
            case messages.Ping():
                self.send_line(self._conn.pong(event.id))
            case messages.GetTransactions():
                self.send_line(self._conn.error(event.id, 20, "Not supported."))
            case _:
                pass  # answers to what we asked

    def _configure(self, event: messages.Configure) -> None:
        behaviour = self._pool.faults.configure
        if behaviour == "ignore":
            return
        if behaviour == "error":
            self.send_line(self._conn.error(event.id, 20, "Unknown method"))
            return
        wanted = event.version_rolling
        mask = None if wanted is None else wanted.mask & self._pool.version_mask
        if wanted is not None and mask is not None and mask.bit_count() < max(1, wanted.min_bit_count):
            mask = None
        self._version_mask = mask
        self.send_line(self._conn.configured(event, mask, False, event.subscribe_extranonce))

    def _subscribe(self, event: messages.Subscribe) -> None:
        if self._pool.faults.refuse_subscribe:
            self.send_line(self._conn.error(event.id, 20, "Subscriptions are closed"))
            return
        session_id, self.extranonce1, self.resumed = self._pool.coordinates(self, event.session_id)
        self.user_agent = event.user_agent
        self.send_line(self._conn.subscribed(event.id, session_id, self.extranonce1, self.extranonce2_bytes))
        if self._drop_after("subscribe"):
            return
        if self._pool.spec.first_job == "subscribe":
            self._first_job()

    def _authorize(self, event: messages.Authorize) -> None:
        faults = self._pool.faults
        is_welcome = not faults.refuse_authorize and event.user not in faults.refuse_users
        was_authorized = self._conn.is_authorized
        self.send_line(self._conn.authorized(event.id, is_welcome))
        if not is_welcome:
            return
        self._users.add(event.user)
        if self._drop_after("authorize"):
            return
        if self._pool.spec.first_job == "authorize" and not was_authorized and self._conn.is_subscribed:
            self._first_job()

    def _first_job(self) -> None:
        self.send_line(messages.encode_set_difficulty(self.difficulty))
        if not self._pool.faults.silent:
            self.send_job(self._pool.template, clean=True)

    def _suggest(self, difficulty: float) -> None:
        """Many pools take the suggestion, others let it pass without a word."""
        if self._pool.spec.follow_suggestion:
            self.set_difficulty(difficulty)

    def _drop_after(self, step: str) -> bool:
        """With the fault on: close once what was queued is out."""
        if self._pool.faults.drop_after != step or self._nursery is None:
            return False
        self._nursery.start_soon(self._close_soon)
        return True

    async def _close_soon(self) -> None:
        while self._out:
            await trio.lowlevel.checkpoint()
        await self._stream.aclose()

    # --- shares

    def _submit(self, event: messages.Submit) -> None:
        sent = self._jobs.get(event.job_id)
        verdict = self._pool.book(event.user, sent, self._judge(event, sent))
        if sent is not None and verdict in GOOD:
            self.accepted += 1
            self.accepted_work += sent.work
        self._answer(event, verdict, verdict in GOOD)
        if verdict is Verdict.BLOCK:
            self._pool.found_block()

    def _judge(self, event: messages.Submit, sent: SentJob | None) -> Verdict:
        if not self._conn.is_subscribed:
            return Verdict.NOT_SUBSCRIBED
        if event.user not in self._users:
            return Verdict.UNAUTHORIZED
        if sent is None:
            return self._jobs.why_missing(event.job_id)
        if event.version_bits is not None and self._version_mask is None:
            return Verdict.BAD_VERSION
        return self._pool.judge(sent, event.extranonce2, event.ntime, event.nonce, event.version_bits).verdict

    def _answer(self, event: messages.Submit, verdict: Verdict, is_accepted: bool) -> None:
        faults = self._pool.faults
        request_id = b"987654321" if faults.answering == "unknown-id" else event.id
        if is_accepted:
            line = self._conn.accepted(request_id)
        elif faults.error_shape == "array":
            line = self._conn.rejected(request_id, verdict)
        else:
            line = refusal_line(request_id, *messages.VERDICT_ERRORS[verdict], faults.error_shape)
        if faults.answering == "never":
            self._pool.answers_withheld += 1
        elif faults.answering == "late" and self._nursery is not None:
            self._nursery.start_soon(self._answer_later, line, faults.answer_delay_s)
        else:
            self.send_line(line)
            if faults.answering == "twice":
                self.send_line(line)

    async def _answer_later(self, line: bytes, delay_s: float) -> None:
        await trio.sleep(delay_s)
        self.send_line(line)
