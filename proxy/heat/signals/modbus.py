"""Modbus TCP server for the utility's PLC: who may connect, how often it may ask, which functions it may use.

What registers mean is in modbus_desk, where they are in modbus_map. Modbus has neither identity nor secrecy: the allow-list and the
network it stands on are all there is, so it listens only where the site file says, to nobody who is not named there.
"""

import ipaddress
from collections.abc import Callable

import structlog
import trio
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
    WriteSingleRegisterResponse,
)

from proxy.config import ModbusSignal
from proxy.events import EventLog
from proxy.heat.mbap import ExcCodes, Frame, FrameBuffer, FrameError, Messages, ModbusPDU
from proxy.heat.signals.modbus_desk import Desk, Refused
from proxy.heat.signals.modbus_map import Refusal
from proxy.heat.signals.port import SignalPort
from proxy.heat.signals.status import SignalStatus

log = structlog.get_logger()

READ_BYTES = 4_096
SEND_TIMEOUT_S = 10.0
WATCH_PERIOD_S = 1.0
# After the address could not be had: another process holds it, or the machine does not have it yet.
RETRY_S = 10.0
# With all places taken, a client silent for so long makes room: a PLC whose cable was pulled comes back on a new connection.
MAKE_ROOM_AFTER_S = 5.0
# Some controllers connect anew for each request: that they come and go is no news, that they stay away is.
GONE_AFTER_S = 10.0
READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY = 3, 4, 6, 16
FUNCTIONS = frozenset({READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY})


class _Client:
    """One connection."""

    def __init__(self, host: str, stream: trio.SocketStream, now_s: float) -> None:
        self.host = host
        self.stream = stream
        self.heard_s = now_s
        self.next_s = 0.0
        self.scope = trio.CancelScope()


class ModbusServer:
    """The server of one site."""

    def __init__(
        self, config: ModbusSignal, port: SignalPort, status: SignalStatus, events: EventLog, wall_clock: Callable[[], float]
    ) -> None:
        """Opens nothing yet. `config.listen` must be set."""
        self._config = config
        self._wall_clock = wall_clock
        self._clock = trio.current_time
        self._networks = [ipaddress.ip_network(network) for network in config.allow]
        self._messages = Messages(is_server=True)
        self._clients: list[_Client] = []
        self._last_left_s = 0.0
        self.status = status
        self.desk = Desk(
            port,
            events,
            self.status,
            alive_timeout_s=config.alive_timeout_s,
            word_order=config.word_order,
            epoch=int(wall_clock()),
        )

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; the value of starting is the port. An address that cannot be had is tried again, and told."""
        host, _, port = (self._config.listen or "").rpartition(":")
        while True:
            try:
                listeners = await trio.open_tcp_listeners(int(port), host=host.strip("[]"))
            except OSError as error:
                self.status.lost(f"cannot listen on {self._config.listen}: {error.strerror or error}")
                await trio.sleep(RETRY_S)
                continue
            break
        self.status.lost("no master is connected")
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, listener, nursery)
            task_status.started(listeners[0].socket.getsockname()[1])
            while True:
                self._watch()
                await trio.sleep(WATCH_PERIOD_S)

    def _watch(self) -> None:
        now_s = self._clock()
        self.desk.watch(now_s)
        if not self._clients and now_s - self._last_left_s >= GONE_AFTER_S:
            self.status.lost("no master is connected")

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    # Out of descriptors, or the peer was gone already: one client is lost, not the server.
                    log.warning("modbus.accept_failed", error=str(error))
                    await trio.sleep(0.1)
                    continue
                nursery.start_soon(self._session, stream)

    async def _session(self, stream: trio.SocketStream) -> None:
        async with stream:
            host = _host_of(stream)
            client = self._let_in(host, stream)
            if client is None:
                return
            self._clients.append(client)
            self.status.connected()
            try:
                with client.scope:
                    await self._talk(client)
            except (FrameError, trio.TooSlowError) as error:
                self.status.refused(f"{host}: {error or 'it does not read our answers'}")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # it is gone; what that means is the alive register's business
            except Exception:
                # A bug met by one client's bytes must not end the others' connections.
                log.exception("modbus.bug", host=host)
            finally:
                self._clients.remove(client)
                self._last_left_s = self._clock()

    def _let_in(self, host: str, stream: trio.SocketStream) -> _Client | None:
        if not self._is_allowed(host):
            self.status.refused(f"{host} is not allowed to connect: see allow in [signals.modbus]")
            return None
        now_s = self._clock()
        if len(self._clients) >= self._config.max_clients:
            oldest = min(self._clients, key=lambda each: each.heard_s)
            if now_s - oldest.heard_s < MAKE_ROOM_AFTER_S:
                self.status.refused(f"{host}: {len(self._clients)} clients are connected already (max_clients)")
                return None
            oldest.scope.cancel()
        return _Client(host, stream, now_s)

    def _is_allowed(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    async def _talk(self, client: _Client) -> None:
        buffer = FrameBuffer()
        while True:
            frame = await self._next_frame(client, buffer)
            if frame is None:
                return
            client.heard_s = self._clock()
            await self._wait_for_rate(client)
            answer = self._answer(client, frame)
            with trio.fail_after(SEND_TIMEOUT_S):
                await client.stream.send_all(answer)
            self.status.reported()

    async def _next_frame(self, client: _Client, buffer: FrameBuffer) -> Frame | None:
        """The next request; None when the client left or sent no whole one in time."""
        with trio.move_on_after(self._config.idle_timeout_s):
            while (frame := buffer.next_frame()) is None:
                received = await client.stream.receive_some(READ_BYTES)
                if not received:
                    return None
                buffer.feed(bytes(received))
            return frame
        return None

    async def _wait_for_rate(self, client: _Client) -> None:
        """Spaces requests; up to a second's worth, and at least one, may come at once."""
        now_s = self._clock()
        gap_s = 1.0 / self._config.max_requests_per_s
        client.next_s = max(client.next_s, now_s - max(1.0, gap_s)) + gap_s
        await trio.sleep_until(client.next_s)

    def _answer(self, client: _Client, frame: Frame) -> bytes:
        """The answer's bytes. No await: a request is done before the next one is looked at."""
        if frame.device_id != self._config.device_id:
            return self._refuse(client, frame, ExcCodes.GATEWAY_NO_RESPONSE, f"unit identifier {frame.device_id} is not ours")
        if frame.function_code not in FUNCTIONS:
            return self._refuse(client, frame, ExcCodes.ILLEGAL_FUNCTION, f"function {frame.function_code} is not offered")
        request = self._messages.decode(frame)
        if request is None or not _is_whole(frame, request):
            reason = f"a request of function {frame.function_code} is malformed"
            if frame.function_code in (WRITE_ONE, WRITE_MANY):
                refused = Refused(ExcCodes.ILLEGAL_VALUE, Refusal.MALFORMED, reason)
                self.desk.note_refused(client.host, refused, self._clock())
                return self._messages.encode_exception(frame, refused.code)
            return self._refuse(client, frame, ExcCodes.ILLEGAL_VALUE, reason)
        done = self._do(client, request)
        if isinstance(done, Refused):
            return self._messages.encode_exception(frame, done.code)
        return self._messages.encode(done, frame)

    def _do(self, client: _Client, request: ModbusPDU) -> ModbusPDU | Refused:
        now_s, now_unix_s = self._clock(), self._wall_clock()
        if isinstance(request, ReadHoldingRegistersRequest):
            words = self.desk.read(request.address, request.count, now_s, now_unix_s)
            if isinstance(words, Refused):
                self.status.refused(f"{client.host}: {words.reason}")
                return words
            is_input = request.function_code == READ_INPUT
            return ReadInputRegistersResponse(registers=words) if is_input else ReadHoldingRegistersResponse(registers=words)
        refused = self.desk.write(client.host, request.address, request.registers, now_s, now_unix_s)
        if refused is not None:
            return refused
        if isinstance(request, WriteSingleRegisterRequest):
            return WriteSingleRegisterResponse(address=request.address, registers=request.registers)
        return WriteMultipleRegistersResponse(address=request.address, count=request.count)

    def _refuse(self, client: _Client, frame: Frame, code: ExcCodes, reason: str) -> bytes:
        self.status.refused(f"{client.host}: {reason}")
        return self._messages.encode_exception(frame, code)


def _is_whole(frame: Frame, request: ModbusPDU) -> bool:
    """Whether the message is as long as its own counts say: neither cut nor followed by anything."""
    if isinstance(request, WriteMultipleRegistersRequest):
        count = len(request.registers)
        return 1 <= count == request.count and request.byte_count == 2 * count and len(frame.message) == 6 + 2 * count
    return len(frame.message) == 5


def _host_of(stream: trio.SocketStream) -> str:
    """The peer's address; an IPv4 address that came through an IPv6 socket as what it is."""
    try:
        host = str(stream.socket.getpeername()[0])
        address = ipaddress.ip_address(host.partition("%")[0])
    except (OSError, ValueError):
        return "unknown"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


async def serve(
    config: ModbusSignal,
    port: SignalPort,
    status: SignalStatus,
    events: EventLog,
    wall_clock: Callable[[], float],
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; `task_status` gets the port."""
    await ModbusServer(config, port, status, events, wall_clock).run(task_status=task_status)
