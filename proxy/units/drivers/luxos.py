"""Driver for machines with LuxOS (CGMiner-like JSON, TCP 4028): profiles by frequency, curtail sleep and wakeup.

Reading is open to all; a write needs a session, of which the machine has one at a time. It is opened for the write and closed
behind it; another one's session is never borrowed. A level's setting is the frequency of a profile in MHz.
"""

from typing import Annotated

import msgspec
import trio
from msgspec import Meta

from proxy import config
from proxy.errors import UnitError
from proxy.units.drivers.base import Answer, Connect, Outcome, Reading
from proxy.units.drivers.cgminer import exchange
from proxy.units.drivers.http import failed_outcome
from proxy.units.drivers.link import NoAnswer
from proxy.units.drivers.words import (
    GIGA,
    TERA,
    Gigahashes,
    Megahertz,
    Seconds,
    Terahashes,
    Watts,
    decode,
    is_calibrating,
    is_dark,
    level_of_setting,
    temperature,
)

ASLEEP_WORD = "sleep"
READ = "summary+config+power+temps"


class _Status(msgspec.Struct, frozen=True):
    # Names as on the wire.
    STATUS: str
    Msg: str = ""


class _Summary(msgspec.Struct, frozen=True, rename={"elapsed": "Elapsed", "rate_ghs": "GHS 5s"}):
    rate_ghs: Gigahashes | None = None
    elapsed: Seconds | None = None


class _Config(
    msgspec.Struct,
    frozen=True,
    rename={
        "curtail_mode": "CurtailMode",
        "is_atm_enabled": "IsAtmEnabled",
        "mac": "MACAddr",
        "model": "Model",
        "nameplate_ths": "NameplateTHS",
        "profile": "Profile",
        "serial": "SerialNumber",
        "system_status": "SystemStatus",
    },
):
    curtail_mode: str
    profile: str = ""
    is_atm_enabled: bool = False
    mac: str = ""
    model: str = ""
    nameplate_ths: Terahashes | None = None
    serial: str = ""
    system_status: str = ""


class _Power(msgspec.Struct, frozen=True, rename={"watts": "Watts"}):
    watts: Watts | None = None


class _Temps(
    msgspec.Struct,
    frozen=True,
    rename={"bottom_left": "BottomLeft", "bottom_right": "BottomRight", "top_left": "TopLeft", "top_right": "TopRight"},
):
    bottom_left: float | None = None
    bottom_right: float | None = None
    top_left: float | None = None
    top_right: float | None = None


class _Profile(msgspec.Struct, frozen=True, rename={"name": "Profile Name", "frequency": "Frequency"}):
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    frequency: Megahertz


class _Session(msgspec.Struct, frozen=True, rename={"session_id": "SessionID"}):
    session_id: Annotated[str, Meta(max_length=128)] = ""


class _Reply(msgspec.Struct, frozen=True):
    STATUS: Annotated[list[_Status], Meta(min_length=1, max_length=8)]
    SUMMARY: Annotated[list[_Summary], Meta(max_length=8)] = []
    CONFIG: Annotated[list[_Config], Meta(max_length=8)] = []
    POWER: Annotated[list[_Power], Meta(max_length=8)] = []
    TEMPS: Annotated[list[_Temps], Meta(max_length=16)] = []
    PROFILES: Annotated[list[_Profile], Meta(max_length=256)] = []
    SESSION: Annotated[list[_Session], Meta(max_length=8)] = []

    @property
    def is_good(self) -> bool:
        """The machine said success or information."""
        return self.STATUS[0].STATUS in ("S", "I")

    @property
    def said(self) -> str:
        """Its words, for people."""
        return self.STATUS[0].Msg[:160]


class _Together(msgspec.Struct, frozen=True):
    """Several commands in one request: each answer whole, under the command's name."""

    summary: Annotated[list[_Reply], Meta(min_length=1, max_length=1)]
    config: Annotated[list[_Reply], Meta(min_length=1, max_length=1)]
    power: Annotated[list[_Reply], Meta(max_length=1)] = []
    temps: Annotated[list[_Reply], Meta(max_length=1)] = []


_reply = msgspec.json.Decoder(_Reply)
_together = msgspec.json.Decoder(_Together)


class LuxosDriver:
    """One machine. Implements drivers.base.Driver."""

    def __init__(self, unit: config.Unit, model: config.Model, connect: Connect) -> None:
        self._address = unit.address
        self._port = config.api_port(unit, model)
        self._model = model
        self._connect = connect
        self._profiles: dict[str, float] = {}  # name -> MHz
        self._session: str | None = None  # ours, if its closing was not confirmed
        self._is_curtailed = False
        self._has_own_mind = False  # its thermal management chooses profiles by itself

    async def read(self) -> Reading:
        """Four answers in one connection; at first contact, and for an unknown profile, all profiles too. Raises UnitError."""
        told = decode(_together, await self._exchange(READ), READ)
        if not told.summary[0].SUMMARY or not told.config[0].CONFIG:
            raise UnitError(f"it answers without summary or config ({told.config[0].said}): no LuxOS, or it is still starting")
        summary, settings = told.summary[0].SUMMARY[0], told.config[0].CONFIG[0]
        if settings.profile not in self._profiles:
            await self._learn_profiles()
        self._is_curtailed = settings.curtail_mode.lower() == ASLEEP_WORD
        self._has_own_mind = settings.is_atm_enabled
        power_w = next((row.watts for reply in told.power for row in reply.POWER), None)
        hashing = None if summary.rate_ghs is None else summary.rate_ghs > 0
        asleep = self._asleep(hashing, power_w)
        frequency = self._profiles.get(settings.profile)
        awake_level = None if frequency is None else level_of_setting(frequency, self._model)
        boards = [row for reply in told.temps for row in reply.TEMPS]
        readings = [
            temperature(value) for row in boards for value in (row.top_left, row.top_right, row.bottom_left, row.bottom_right)
        ]
        present = [value for value in readings if value]
        return Reading(
            at_s=trio.current_time(),
            serial=settings.serial.strip().lower()[:80] or (f"mac:{settings.mac.strip().lower()}"[:80] if settings.mac else None),
            model_name=settings.model[:80] or None,
            level_observed=0 if asleep else awake_level if asleep is False else None,
            asleep=asleep,
            stopping=asleep is None and self._is_curtailed,
            calibrating=asleep is False and settings.system_status.lower() == "initializing",
            hashing=hashing,
            power_w=power_w,
            hashrate_hps=None if summary.rate_ghs is None else summary.rate_ghs * GIGA,
            hashrate_rated_hps=None if settings.nameplate_ths is None else settings.nameplate_ths * TERA,
            # Of the boards: intake is the coldest and exhaust the hottest of their corners.
            inlet_c=min(present, default=None),
            outlet_c=max(present, default=None),
            elapsed_s=None if self._is_curtailed else summary.elapsed,
        )

    async def set_level(self, level: int) -> Outcome:
        """Send what leads to `level`, in a session of our own. Never raises UnitError; a reading proves the rest."""
        writes = [("curtail", "sleep")]
        if level > 0:
            frequency = self._model.levels[level - 1].setting
            name = next((name for name, mhz in self._profiles.items() if mhz == frequency), None)
            if name is None:
                return Outcome(Answer.REFUSED, self._advice(frequency))
            writes = [("profileset", name)]
            if self._is_curtailed:
                writes.append(("curtail", "wakeup"))
        try:
            session = await self._log_on()
        except UnitError as problem:
            return Outcome(Answer.UNSENT, str(problem))  # without a session no write was made
        outcome = Outcome(Answer.TAKEN)
        for command, parameter in writes:
            outcome = await self._write(command, f"{session},{parameter}")
            # While it sleeps it may refuse a profile: then it wakes on the old one and is told again.
            if outcome.answer in (Answer.UNSENT, Answer.LOST):
                break
        await self._log_off(session)
        return outcome

    def _asleep(self, hashing: bool | None, power_w: float | None) -> bool | None:
        """True is proven by curtailed, no hashes and hardly any power together. Between is None."""
        if not self._is_curtailed:
            return False
        return True if hashing is False and is_dark(power_w, self._model) else None

    def _advice(self, frequency: int) -> str:
        known = ", ".join(f"{mhz:g}" for mhz in sorted(set(self._profiles.values())))
        return f"it has no profile of {frequency} MHz (it has: {known[:200] or 'none told yet'}): correct the levels of the model"

    async def _learn_profiles(self) -> None:
        reply = decode(_reply, await self._exchange("profiles"), "profiles")
        if reply.is_good:
            self._profiles = {row.name: row.frequency for row in reply.PROFILES}

    async def _log_on(self) -> str:
        """A session of ours. Raises UnitError when there is none to be had."""
        reply = decode(_reply, await self._exchange("logon"), "logon")
        session = reply.SESSION[0].session_id if reply.is_good and reply.SESSION else ""
        if not session and self._session is not None:
            # Perhaps it is our own that was never confirmed closed.
            now = decode(_reply, await self._exchange("session"), "session")
            if now.SESSION and now.SESSION[0].session_id == self._session:
                session = self._session
        if not session:
            raise UnitError(f"it gives no session ({reply.said}): somebody else is logged on; it ends by itself after a minute")
        self._session = session
        return session

    async def _log_off(self, session: str) -> None:
        try:
            if decode(_reply, await self._exchange("logoff", session), "logoff").is_good:
                self._session = None
        except UnitError:
            return  # it is remembered, and used again if it should still be open

    async def _write(self, command: str, parameter: str) -> Outcome:
        try:
            raw = await self._exchange(command, parameter)
            try:
                reply = decode(_reply, raw, command)
            except UnitError as problem:
                raise NoAnswer(str(problem)) from problem
        except UnitError as problem:
            return failed_outcome(problem)
        if reply.is_good:
            return Outcome(Answer.TAKEN)
        said = f"{command}: {reply.said}"
        if is_calibrating(said):
            return Outcome(Answer.CALIBRATING, said)
        advice = "; its thermal management (ATM) is on: `atmset enabled=false`" if self._has_own_mind else ""
        return Outcome(Answer.REFUSED, said + advice)

    async def _exchange(self, command: str, parameter: str | None = None) -> bytes:
        request = {"command": command} if parameter is None else {"command": command, "parameter": parameter}
        return await exchange(self._connect, self._address, self._port, msgspec.json.encode(request), ends_at_close=True)
