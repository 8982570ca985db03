"""What simulated machines of all families but Avalon share: the same physics, another face on the network, the same faults.

A face says what becomes of one write and garbles what it is told to garble; what the words are is each family's file.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum, auto

import h11
import trio

from proxy.sim.device import SimDevice
from proxy.sim.device_api import HUGE_BYTES

LIMIT_BYTES = 65_536


class Fate(Enum):
    """What happens to a write that came in."""

    DO = auto()
    IGNORE = auto()  # says OK, changes nothing
    DROP = auto()  # not carried out, and no answer
    REFUSE = auto()
    CALIBRATING = auto()


class FacedDevice(SimDevice, ABC):
    """Base of the other families' machines."""

    slow_s: float = 0.0  # before each answer
    password: str = ""  # that its API wants, where the family has one

    async def handle(self, stream: trio.abc.Stream, clock: Callable[[], float] | None = None) -> None:
        """One connection: one request, one answer."""
        async with stream:
            try:
                if clock is not None:
                    self.advance(clock())
                if self.faults.is_gone:
                    return
                if self.is_silent:
                    # Takes the request and says nothing, until the caller has had enough.
                    while await stream.receive_some(4_096):
                        pass
                    return
                await self.converse(stream)
            except (trio.BrokenResourceError, OSError):
                return

    @abstractmethod
    async def converse(self, stream: trio.abc.Stream) -> None:
        """Read one request and answer it. A family says how."""

    def fate(self, write: str, *, is_setting: bool) -> Fate:
        """What becomes of a write, by the faults set; counts it as arrived unless it is dropped."""
        faults = self.faults
        if faults.lost_requests > 0:
            faults.lost_requests -= 1
            return Fate.DROP
        self.writes.append(write)
        if faults.refuses is not None:
            return Fate.REFUSE
        if faults.calibrating and is_setting:
            return Fate.CALIBRATING
        return Fate.IGNORE if faults.no_effect else Fate.DO

    def loses_answer(self) -> bool:
        """Whether the answer to a write that was carried out gets lost."""
        if self.faults.lost_answers > 0:
            self.faults.lost_answers -= 1
            return True
        return False

    def garbled(self, content: bytes) -> bytes:
        """The content of an answer, as the fault says."""
        match self.faults.nonsense:
            case "not_json":
                return b"<html><title>401 Unauthorized</title></html>"
            case "half":
                return content[: len(content) // 2]
            case "empty":
                return b""
            case "huge":
                return b"[" + b" " * HUGE_BYTES + b"]"
            case _:
                return content

    def told_power_w(self) -> float:
        """The power it tells; absurd or negative where a fault says so."""
        match self.faults.nonsense:
            case "absurd":
                return 80_640_000.0
            case "negative":
                return -550.0
            case _:
                return round(self.power_w, 1)

    def power_of_setting(self, setting: int) -> float:
        """What the spec says of a setting; that of the highest level for an unknown one."""
        return next((level.power_w for level in self.spec.levels if level.setting == setting), self.spec.levels[-1].power_w)


class HttpDevice(FacedDevice):
    """A machine whose API is HTTP."""

    @abstractmethod
    def reply(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        """Status and content for a request; None: close without a word. A family says what."""

    async def converse(self, stream: trio.abc.Stream) -> None:
        """One HTTP request, one answer."""
        peer = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT_BYTES)
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = peer.next_event()
            if event is h11.NEED_DATA:
                peer.receive_data(bytes(await stream.receive_some(LIMIT_BYTES)))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                break
            else:
                return
        headers = {name.decode(): value.decode() for name, value in request.headers}
        answer = self.reply(request.method.decode(), request.target.decode(), headers, bytes(body))
        if self.slow_s:
            await trio.sleep(self.slow_s)
        if answer is None:
            return
        if self.faults.nonsense == "no_nul":
            await stream.send_all(b"SSH-2.0-dropbear\r\n\r\n")  # something that is not HTTP at all
            return
        status, content = answer[0], self.garbled(answer[1])
        head = h11.Response(
            status_code=status,
            headers=[("Content-Length", str(len(content))), ("Content-Type", "application/json"), ("Connection", "close")],
        )
        parts = [peer.send(head), peer.send(h11.Data(content)) if content else b"", peer.send(h11.EndOfMessage())]
        await stream.send_all(b"".join(part for part in parts if part))
