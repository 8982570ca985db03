"""A meter that speaks Modbus TCP and counts what a test's plant really gives; it remembers what it told, and can fall silent."""

import struct
from collections.abc import Callable

import trio
from pymodbus.constants import ExcCodes
from pymodbus.pdu.register_message import ReadInputRegistersRequest, ReadInputRegistersResponse

from proxy.heat.mbap import FrameBuffer, Messages


class LiveMeter:
    """Registers: energy in Wh (uint64) at 0, power in W (uint32) at 4. `power_w` says what goes through it now."""

    def __init__(self, power_w: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self.is_silent = False
        self.told: list[tuple[float, int]] = []  # when, and the counter
        self._power_w = power_w
        self._wall_clock = wall_clock
        self._energy_wh = 5_000_000.0
        self._at_unix_s = wall_clock()

    def count(self) -> None:
        """Bring the counter up to now."""
        now_unix_s = self._wall_clock()
        self._energy_wh += self._power_w() * (now_unix_s - self._at_unix_s) / 3_600.0
        self._at_unix_s = now_unix_s

    def counter_at(self, at_unix_s: float) -> float:
        """What it showed at a moment, on the line between the two readings beside it."""
        before = max(row for row in self.told if row[0] <= at_unix_s)
        after = min(row for row in self.told if row[0] >= at_unix_s)
        if after == before:
            return before[1]
        return before[1] + (after[1] - before[1]) * (at_unix_s - before[0]) / (after[0] - before[0])

    async def serve(self, *, task_status: trio.TaskStatus[list[trio.SocketListener]]) -> None:
        """Until cancelled."""
        await trio.serve_tcp(self._talk, 0, host="127.0.0.1", task_status=task_status)

    async def _talk(self, stream: trio.SocketStream) -> None:
        messages, buffer = Messages(is_server=True), FrameBuffer()
        async for chunk in stream:
            buffer.feed(bytes(chunk))
            while (frame := buffer.next_frame()) is not None:
                request = messages.decode(frame)
                if self.is_silent or not isinstance(request, ReadInputRegistersRequest):
                    await stream.send_all(messages.encode_exception(frame, ExcCodes.DEVICE_FAILURE))
                    continue
                self.count()
                self.told.append((self._at_unix_s, int(self._energy_wh)))
                words = struct.unpack(">6H", struct.pack(">QI", int(self._energy_wh), round(self._power_w())))
                answer = ReadInputRegistersResponse(registers=list(words[request.address : request.address + request.count]))
                await stream.send_all(messages.encode(answer, frame))


def site_lines(name: str, measures: str, port: int) -> str:
    """Its table in a site file."""
    power = "heat_w" if measures == "heat" else "power_w"
    return f"""
[[meters]]
name = "{name}"
measures = "{measures}"
address = "127.0.0.1:{port}"
profile = "custom"
registers = [{{ quantity = "energy_wh", address = 0, kind = "uint64" }}, {{ quantity = "{power}", address = 4, kind = "uint32" }}]
period_s = 20
timeout_s = 20
"""
