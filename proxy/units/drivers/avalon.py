"""Driver for Canaan Avalon machines over the CGMiner API (TCP 4028): read, set a level, sleep, wake.

One connection a request. Each write is sent at most once: whatever became of its answer, the next reading tells what it did.
How often to try, what to believe and when to give up is not decided here.
"""

import re
from collections.abc import Callable

import msgspec
import trio

from proxy import config
from proxy.errors import UnitError
from proxy.units.drivers.avalon_parse import Reply, Telemetry, Version, parse_options, parse_reply, parse_telemetry
from proxy.units.drivers.avalon_reading import SOFT_OFF_BOOTING, read_state
from proxy.units.drivers.base import Answer, Connect, Outcome, Reading
from proxy.units.drivers.cgminer import exchange
from proxy.units.drivers.link import NotSent

# softoff and softon name a moment on the unit's own clock; one that has passed does nothing, so it lies a little ahead.
EPOCH_AHEAD_S = 5
CODE_STATS, CODE_VERSION, CODE_POOLS = 70, 22, 7
CODE_INVALID_COMMAND, CODE_INVALID_JSON = 14, 23
CODES_SET = (118, 119)  # information, OK
_CALIBRATING = re.compile(r"cali(ng|brat)", re.IGNORECASE)


class _Write(msgspec.Struct, frozen=True, gc=False):
    """One ascset. A write that is not needed may be refused without harm."""

    option: str
    parameter: str
    is_needed: bool = True


class AvalonDriver:
    """One machine. Implements drivers.base.Driver."""

    def __init__(self, unit: config.Unit, model: config.Model, connect: Connect, wall_clock: Callable[[], float]) -> None:
        self._unit = unit
        self._model = model
        self._connect = connect
        self._wall_clock = wall_clock
        self._speaks_text = False
        self._clock_ahead_s = 0.0  # the unit's clock minus ours
        self._version: Version | None = None
        self._version_for: str | None = None  # the serial whose version and options these are
        self._options: frozenset[str] | None = None
        self._told: Telemetry | None = None

    async def read(self) -> Reading:
        """Its telemetry now, and at first contact its version and options too. Raises UnitError."""
        try:
            reply = await self._query("estats", CODE_STATS)
            if reply.summary is None:
                raise UnitError("its answer to estats has no MM ID0 block: no Avalon, or it is still starting")
            told = parse_telemetry(reply.summary)
            if self._version is None or (told.serial is not None and told.serial != self._version_for):
                await self._identify(told)
            pools_alive = None
            reading = read_state(told, self._version, self._model, trio.current_time())
            if reading.asleep is False and reading.hashing is False:
                # Awake without hashes is nearly always a matter of its pools: ask, so that the operator is told.
                pools_alive = (await self._query("pools", CODE_POOLS)).pools_alive
        except UnitError:
            self._version = None  # whoever answers next may be another machine
            raise
        self._told = told
        return msgspec.structs.replace(reading, pools_alive=pools_alive)

    async def _identify(self, told: Telemetry) -> None:
        self._version = (await self._query("version", CODE_VERSION)).version
        self._version_for = told.serial
        probe = await self._ask("ascset", "0,help")
        # Firmware without the probe refuses it; then every command is simply tried.
        self._options = parse_options(probe.message) if probe.is_good else None

    async def set_level(self, level: int) -> Outcome:
        """Send what leads to `level`. Never raises UnitError; the outcome says what is known, a reading proves the rest."""
        plan = self._plan(level)
        for write in plan:
            if write.is_needed and self._options is not None and write.option not in self._options:
                return Outcome(Answer.REFUSED, self._advice(write.option))
        outcome = Outcome(Answer.TAKEN)
        for write in plan:
            outcome = await self._write(write)
            if write.is_needed and outcome.answer is not Answer.TAKEN:
                break
        return outcome

    def _plan(self, level: int) -> tuple[_Write, ...]:
        model = self._model
        if level == 0:
            # Firmware that wakes by a reboot (A13 and before) knows softoff without a moment only.
            return (_Write("softoff", f"1:{self._epoch()}" if model.wake == "softon" else ""),)
        setting = model.levels[level - 1].setting
        # workmode,N waits for a reboot; workmode,set,N and worklevel,set,N act at once.
        waits = model.setting_command == "workmode" and model.change_reboots
        change = _Write(model.setting_command, f"{setting}" if waits else f"set,{setting}")
        told = self._told
        if told is not None and told.soft_off is not None and 0 < told.soft_off < SOFT_OFF_BOOTING:
            # It should wake up on the right level. Some firmwares take that while they sleep and some refuse, so the answer
            # does not matter: the level that it woke up with is read back.
            change = msgspec.structs.replace(change, is_needed=False)
            return (change, _Write("softon", f"1:{self._epoch()}") if model.wake == "softon" else _Write("reboot", "1"))
        return (change, _Write("reboot", "0")) if waits else (change,)

    def _epoch(self) -> int:
        return int(self._wall_clock() + self._clock_ahead_s) + EPOCH_AHEAD_S

    def _advice(self, option: str) -> str:
        known = ", ".join(sorted(self._options or ()))
        return (
            f"this firmware has no {option} (it has: {known[:200]}): correct setting_command or wake of [models.{self._unit.model}]"
        )

    async def _write(self, write: _Write) -> Outcome:
        parameter = f"0,{write.option},{write.parameter}" if write.parameter else f"0,{write.option}"
        try:
            reply = await self._ask("ascset", parameter)
        except NotSent as problem:
            return Outcome(Answer.UNSENT, str(problem))
        except UnitError as problem:
            # Also what softon does on some firmwares when all is well: it restarts before it answers.
            return Outcome(Answer.LOST, str(problem))
        if _CALIBRATING.search(reply.message) and not reply.is_good:
            return Outcome(Answer.CALIBRATING, reply.message[:200])
        if reply.is_good and reply.code in CODES_SET:
            return Outcome(Answer.TAKEN)
        if reply.is_good:
            return Outcome(Answer.LOST, f"code {reply.code} is no answer to ascset")
        return Outcome(Answer.REFUSED, f"{parameter}: {reply.message[:200]}")

    async def _query(self, command: str, code: int) -> Reply:
        """A reply that is good and belongs to the command. Raises UnitError."""
        reply = await self._ask(command)
        if reply.code in (CODE_INVALID_COMMAND, CODE_INVALID_JSON) and reply.is_text and not self._speaks_text:
            # Old firmware takes the JSON for the name of a command. Reading again is harmless; writes come after a reading.
            self._speaks_text = True
            reply = await self._ask(command)
        if not reply.is_good or reply.code != code:
            raise UnitError(f"it answers {command} with status {reply.status}, code {reply.code}: {reply.message[:120]}")
        return reply

    async def _ask(self, command: str, parameter: str = "") -> Reply:
        if self._speaks_text:
            request = f"{command}|{parameter}".encode() if parameter else command.encode()
        elif parameter:
            request = msgspec.json.encode({"command": command, "parameter": parameter})
        else:
            request = msgspec.json.encode({"command": command})
        reply = parse_reply(await exchange(self._connect, self._unit.address, config.api_port(self._unit, self._model), request))
        if reply.when_unix_s is not None:
            self._clock_ahead_s = reply.when_unix_s - self._wall_clock()
        return reply
