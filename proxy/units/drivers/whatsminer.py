"""Driver for MicroBT Whatsminers with API v3 (TCP 4433): power in percent of the tuned limit, service stop and start.

A frame is a length of four bytes, little-endian, and JSON. Reading needs no account; a write carries a token made of command,
password, the machine's salt and the time by its own clock. The percentage is taken only once the machine has tuned itself, is
forgotten at each restart, and wants to be a string on some firmwares and a number on others.
"""

import base64
import hashlib
import struct
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import trio
from msgspec import Meta

from proxy import config
from proxy.errors import UnitError
from proxy.units.credentials import Credentials
from proxy.units.drivers.base import Answer, Connect, Outcome, Reading
from proxy.units.drivers.http import failed_outcome
from proxy.units.drivers.link import REPLY_LIMIT_BYTES, NoAnswer, converse
from proxy.units.drivers.words import (
    TERA,
    Seconds,
    Terahashes,
    Watts,
    decode,
    is_calibrating,
    is_dark,
    level_of_power,
    level_of_setting,
    temperature,
)

CODE_OK, CODE_DENIED = 0, -4
TOKEN_CHARACTERS = 8
# `fast` acts within a second or so, `normal` takes minutes: heat control and interlocks need the first.
PERCENT_MODE = "fast"
NO_PERCENT_SET = 100.0  # it tells 0 where none is in effect


class _Reply(msgspec.Struct, frozen=True):
    code: Annotated[int, Meta(ge=-1_000, le=1_000_000)]
    msg: msgspec.Raw = msgspec.Raw(b"null")
    when: Annotated[int, Meta(ge=0, le=10**11)] | None = None


class _Miner(msgspec.Struct, frozen=True, rename="kebab"):
    working: str | bool | None = None
    miner_sn: str = ""
    type: str = ""


class _System(msgspec.Struct, frozen=True):
    fwversion: str = ""
    apiswitch: str | int | None = None


class _Network(msgspec.Struct, frozen=True):
    mac: str = ""


class _Info(msgspec.Struct, frozen=True, rename="kebab"):
    miner: _Miner
    system: _System = _System()
    network: _Network = _Network()
    salt: Annotated[str, Meta(max_length=128)] = ""
    error_code: Annotated[list[dict[str, str]], Meta(max_length=256)] = []


class _Summary(msgspec.Struct, frozen=True, rename="kebab"):
    elapsed: Seconds | None = None
    hash_realtime: Terahashes | None = None
    factory_hash: Terahashes | None = None
    power_realtime: Watts | None = None
    chip_temp_max: float | None = None
    up_freq_finish: int | None = None


class _Status(msgspec.Struct, frozen=True):
    summary: _Summary


class _Setting(msgspec.Struct, frozen=True, rename="kebab"):
    power_percent: Annotated[float, Meta(ge=0, le=300)] | Annotated[str, Meta(max_length=8)] | None = None


_reply = msgspec.json.Decoder(_Reply)
_info = msgspec.json.Decoder(_Info)
_status = msgspec.json.Decoder(_Status)
_setting = msgspec.json.Decoder(_Setting)
_text = msgspec.json.Decoder(str)


class WhatsminerDriver:
    """One machine. Implements drivers.base.Driver."""

    def __init__(
        self, unit: config.Unit, model: config.Model, connect: Connect, wall_clock: Callable[[], float], account: Credentials
    ) -> None:
        self._address = unit.address
        self._port = config.api_port(unit, model)
        self._model = model
        self._connect = connect
        self._wall_clock = wall_clock
        self._account = account
        self._clock_ahead_s = 0.0  # the unit's clock minus ours
        self._salt: str | None = None
        self._is_working: bool | None = None
        self._is_tuned: bool | None = None
        self._told_percent: float | None = None
        self._sent_percent: int | None = None  # accepted, and its effect not seen yet
        self._percent_as_text = True

    async def read(self) -> Reading:
        """What it is, does and is set to: three questions. Raises UnitError."""
        info = decode(_info, await self._ask("get.device.info"), "get.device.info")
        working = _flag(info.miner.working)
        summary = await self._summary(working)
        percent = await self._percent()
        self._salt, self._is_working, self._told_percent = info.salt, working, percent
        self._is_tuned = None if summary.up_freq_finish is None else summary.up_freq_finish == 1
        hashing = None if summary.hash_realtime is None else summary.hash_realtime > 0
        asleep = self._asleep(working, hashing, summary.power_realtime)
        if percent is not None and percent == self._sent_percent:
            self._sent_percent = None
        level = 0 if asleep else None
        if asleep is False:
            power_w = summary.power_realtime if hashing else None
            level = level_of_power(power_w, self._model) if percent is None else level_of_setting(percent, self._model)
        return Reading(
            at_s=trio.current_time(),
            serial=_serial(info),
            model_name=info.miner.type[:80] or None,
            firmware=info.system.fwversion[:80] or None,
            level_observed=level,
            asleep=asleep,
            stopping=asleep is None and working is False,
            calibrating=asleep is False and self._is_tuned is False,
            hashing=hashing,
            power_w=summary.power_realtime,
            hashrate_hps=None if summary.hash_realtime is None else summary.hash_realtime * TERA,
            hashrate_rated_hps=None if summary.factory_hash is None else summary.factory_hash * TERA,
            chip_c=temperature(summary.chip_temp_max) or None,
            # It stands still while the service is stopped, which is no sign of a frozen controller.
            elapsed_s=summary.elapsed if working else None,
            error_bits=_errors(info),
        )

    async def set_level(self, level: int) -> Outcome:
        """Send what leads to `level`. Never raises UnitError; a reading proves the rest.

        Waking is one command, the percentage another: it forgets the percentage when it stops, and takes one only once it has
        tuned itself again. So a wake goes to 100 % first and the level follows.
        """
        if level == 0:
            return await self._write("set.miner.service", "stop")
        if self._is_working is False:
            return await self._write("set.miner.service", "start")
        if self._is_tuned is False:
            return Outcome(Answer.CALIBRATING, "it tunes itself after a start and takes no percentage before it has finished")
        return await self._set_percent(self._model.levels[level - 1].setting)

    async def _set_percent(self, percent: int) -> Outcome:
        if self._sent_percent == percent:
            # It said OK to this one and did not change: firmware that reads the other kind of JSON value does that.
            self._percent_as_text = not self._percent_as_text
        outcome = await self._write("set.miner.power_percent", self._percent_parameter(percent))
        if outcome.answer is Answer.REFUSED and "access" not in outcome.text:
            # A refusal is an answer: nothing was done, so the same wish in the other form repeats nothing.
            self._percent_as_text = not self._percent_as_text
            outcome = await self._write("set.miner.power_percent", self._percent_parameter(percent))
        self._sent_percent = percent if outcome.answer is Answer.TAKEN else None
        return outcome

    def _percent_parameter(self, percent: int) -> dict[str, str | int]:
        return {"percent": str(percent) if self._percent_as_text else percent, "mode": PERCENT_MODE}

    async def _summary(self, working: bool | None) -> _Summary:
        try:
            return decode(_status, await self._ask("get.miner.status", "summary"), "get.miner.status").summary
        except _Refused:
            if working is False:
                return _Summary(hash_realtime=0.0)  # nobody is there to ask: its miner program is stopped
            raise

    async def _percent(self) -> float | None:
        """The percentage in effect; None on firmware that does not tell it (before API 3.0.3)."""
        try:
            told = decode(_setting, await self._ask("get.miner.setting"), "get.miner.setting").power_percent
        except _Refused:
            return None
        if told is None:
            return None
        try:
            percent = float(told)
        except ValueError:
            raise UnitError(f"its answer says power-percent {told!r}, which is no number") from None
        if not 0 <= percent <= 300:
            raise UnitError(f"its answer says power-percent {percent:g}, which no machine has")
        return percent or NO_PERCENT_SET

    def _asleep(self, working: bool | None, hashing: bool | None, power_w: float | None) -> bool | None:
        """True is proven by stopped, no hashes and hardly any power together. Between is None."""
        if working is not False:
            return False if working or hashing else None
        return True if hashing is False and is_dark(power_w, self._model) else None

    async def _write(self, command: str, parameter: object) -> Outcome:
        try:
            salt = self._salt or decode(_info_salt, await self._ask("get.device.info", "salt"), "get.device.info").salt
        except UnitError as problem:
            return Outcome(Answer.UNSENT, str(problem))  # the question did not get through; the write was not even made
        at_s = int(self._wall_clock() + self._clock_ahead_s)
        request = {
            "cmd": command,
            "param": parameter,
            "ts": at_s,
            "account": self._account.user,
            "token": make_token(command, self._account.password, salt, at_s),
        }
        try:
            reply = await self._exchange(request)
        except UnitError as problem:
            return failed_outcome(problem)
        if reply.code == CODE_OK:
            return Outcome(Answer.TAKEN)
        self._salt = None  # it may be another one by now; ask before the next write
        said = f"{command}: code {reply.code}: {_message(reply)}"
        if reply.code == CODE_DENIED:
            return Outcome(Answer.REFUSED, f"{said}: no access: check api_user, api_password_file, and that its API may write")
        return Outcome(Answer.CALIBRATING if is_calibrating(said) else Answer.REFUSED, said)

    async def _ask(self, command: str, parameter: str | None = None) -> msgspec.Raw:
        """The `msg` of a good answer. Raises UnitError."""
        request = {"cmd": command} if parameter is None else {"cmd": command, "param": parameter}
        reply = await self._exchange(request)
        if reply.when is not None:
            self._clock_ahead_s = reply.when - self._wall_clock()
        if reply.code != CODE_OK:
            raise _Refused(f"it answers {command} with code {reply.code}: {_message(reply)}")
        return reply.msg

    async def _exchange(self, request: dict[str, Any]) -> _Reply:
        # Any: a parameter is whatever JSON the command takes.
        content = msgspec.json.encode(request)

        async def talk(stream: trio.abc.Stream) -> bytes:
            await stream.send_all(struct.pack("<I", len(content)) + content)
            return await _receive_frame(stream)

        raw = await converse(self._connect, self._address, self._port, talk)
        try:
            return decode(_reply, raw, str(request["cmd"]))
        except UnitError as problem:
            # Whatever it did with a write, this answer does not tell.
            raise NoAnswer(str(problem)) from problem


class _Salt(msgspec.Struct, frozen=True):
    salt: Annotated[str, Meta(min_length=1, max_length=128)]


_info_salt = msgspec.json.Decoder(_Salt)


class _Refused(UnitError):
    """It answered, and the answer is no."""


def make_token(command: str, password: str, salt: str, at_unix_s: int) -> str:
    """The proof that whoever sends `command` at this time knows the password."""
    digest = hashlib.sha256(f"{command}{password}{salt}{at_unix_s}".encode()).digest()
    return base64.b64encode(digest)[:TOKEN_CHARACTERS].decode()


async def _receive_frame(stream: trio.abc.Stream) -> bytes:
    received = bytearray()
    length: int | None = None
    while length is None or len(received) < 4 + length:
        chunk = await stream.receive_some(65_536)
        if not chunk:
            raise NoAnswer("nothing came back" if not received else f"only the first {len(received)} bytes of an answer came")
        received += chunk
        if length is None and len(received) >= 4:
            (length,) = struct.unpack_from("<I", received)
            if length > REPLY_LIMIT_BYTES:
                raise NoAnswer(f"an answer of {length} bytes: this is no Whatsminer with API v3")
    return bytes(received[4 : 4 + length])


def _flag(word: str | bool | None) -> bool | None:
    if isinstance(word, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(word.lower())
    return word


def _serial(info: _Info) -> str | None:
    mac = info.network.mac.strip().lower()
    return info.miner.miner_sn.strip().lower()[:80] or (f"mac:{mac}"[:80] if mac else None)


def _errors(info: _Info) -> tuple[int, ...]:
    """Each entry names its code as a key, beside the word `reason`."""
    return tuple(int(key) for entry in info.error_code for key in entry if key.isascii() and key.isdigit() and len(key) < 10)


def _message(reply: _Reply) -> str:
    try:
        return _text.decode(reply.msg)[:160]
    except msgspec.DecodeError:
        return bytes(reply.msg)[:160].decode("utf-8", errors="replace")
