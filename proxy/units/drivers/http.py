"""HTTP/1.1 to a machine: one request, one bounded answer, on a connection of its own.

Sans-I/O h11 on the same `link` as every other family, so that a driver knows for each write whether it left, and tests run over
memory streams in virtual time. No redirects, no cookies, no TLS: machines have none.
"""

import h11
import msgspec
import trio

from proxy.errors import UnitError
from proxy.units.drivers.base import Answer, Connect, Outcome
from proxy.units.drivers.link import REPLY_LIMIT_BYTES, NoAnswer, NotSent, converse
from proxy.units.drivers.words import is_calibrating

MAX_HEAD_BYTES = 16 * 1024


class HttpReply(msgspec.Struct, frozen=True, gc=False):
    """Status and body of an answer."""

    status: int
    body: bytes

    @property
    def is_good(self) -> bool:
        """The machine says that it did as asked."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The beginning of the body, for people."""
        return " ".join(self.body[:200].decode("utf-8", errors="replace").split())


class HttpMachine:
    """Where one machine answers, and how it is asked."""

    def __init__(self, connect: Connect, address: str, port: int) -> None:
        self._connect = connect
        self._address = address
        self._port = port

    async def ask(self, method: str, path: str, body: object = None, *, token: str | None = None) -> HttpReply:
        """One request; `body` goes as JSON. Any status is an answer. Raises NotSent or NoAnswer (both UnitError)."""
        host = f"[{self._address}]" if ":" in self._address else self._address
        headers = [("Host", f"{host}:{self._port}"), ("Accept", "application/json"), ("Connection", "close")]
        if token is not None:
            headers.append(("Authorization", token))
        content = b"" if body is None else msgspec.json.encode(body)
        if body is not None:
            headers.append(("Content-Type", "application/json"))
        if method != "GET":
            headers.append(("Content-Length", str(len(content))))
        request = h11.Request(method=method, target=path, headers=headers)

        async def talk(stream: trio.abc.Stream) -> HttpReply:
            return await _talk(stream, request, content)

        return await converse(self._connect, self._address, self._port, talk)

    async def write(self, method: str, path: str, body: object = None) -> Outcome:
        """One write as an outcome, for machines without accounts; sent once."""
        try:
            return outcome_of(await self.ask(method, path, body), f"{method} {path}")
        except UnitError as problem:
            return failed_outcome(problem)


def outcome_of(reply: HttpReply, what: str) -> Outcome:
    """What an answered write came to. A server error says nothing of what was done: read back."""
    if reply.is_good:
        return Outcome(Answer.TAKEN)
    said = f"{what}: status {reply.status}: {reply.text}"
    if reply.status >= 500:
        return Outcome(Answer.LOST, said)
    return Outcome(Answer.CALIBRATING if is_calibrating(reply.text) else Answer.REFUSED, said)


def failed_outcome(problem: UnitError) -> Outcome:
    """What a write came to that was not answered."""
    return Outcome(Answer.UNSENT if isinstance(problem, NotSent) else Answer.LOST, str(problem))


async def _talk(stream: trio.abc.Stream, request: h11.Request, content: bytes) -> HttpReply:
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    sent = [peer.send(request), peer.send(h11.Data(content)) if content else b"", peer.send(h11.EndOfMessage())]
    await stream.send_all(b"".join(part for part in sent if part))
    status, body = 0, bytearray()
    while True:
        try:
            event = peer.next_event()
        except h11.RemoteProtocolError as problem:
            raise NoAnswer(f"its answer is no HTTP: {problem}") from problem
        if event is h11.NEED_DATA:
            peer.receive_data(bytes(await stream.receive_some(65_536)))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > REPLY_LIMIT_BYTES:
                raise NoAnswer(f"an answer of more than {REPLY_LIMIT_BYTES} bytes: this is no miner's API")
        elif isinstance(event, h11.EndOfMessage):
            return HttpReply(status, bytes(body))
        elif isinstance(event, h11.ConnectionClosed):
            raise NoAnswer("nothing came back")
