"""Driver for machines with Braiins OS (REST, TCP 80): a power target in watts that is followed live, pause and resume.

It logs in for a token and again when the token is refused; a refused request was not carried out. A login that is refused is tried
again only after a while, since a machine may lock an account. The power it tells is an estimate of its own, at the wall.
"""

import math
from collections.abc import Iterable
from typing import Annotated

import msgspec
import trio
from msgspec import Meta

from proxy import config
from proxy.errors import UnitError
from proxy.units.credentials import Credentials
from proxy.units.drivers.base import Answer, Connect, Outcome, Reading
from proxy.units.drivers.http import HttpMachine, HttpReply, failed_outcome, outcome_of
from proxy.units.drivers.link import NoAnswer
from proxy.units.drivers.words import GIGA, Gigahashes, Seconds, Watts, decode, is_dark, level_of_setting, temperature

ROOT = "/api/v1"
UNAUTHORIZED = frozenset({401, 403})
STATUS_NORMAL, STATUS_PAUSED = 2, 3
TUNER_ERROR = 4
# After a refused login: wait this long, then twice as long, up to the limit. A sweep each 15 s would be 240 tries an hour.
FIRST_LOGIN_REST_S, LAST_LOGIN_REST_S = 60.0, 900.0


class _Watt(msgspec.Struct, frozen=True):
    watt: Watts


class _Hashrate(msgspec.Struct, frozen=True):
    gigahash_per_second: Gigahashes


class _Version(msgspec.Struct, frozen=True):
    current: str = ""


class _Identity(msgspec.Struct, frozen=True):
    name: str = ""


class _Details(msgspec.Struct, frozen=True):
    status: Annotated[int, Meta(ge=0, le=100)]
    serial_number: str | None = None
    mac_address: str | None = None
    system_uptime_s: Seconds | None = None
    bosminer_uptime_s: Seconds | None = None
    bos_version: _Version | None = None
    miner_identity: _Identity | None = None


class _RealHashrate(msgspec.Struct, frozen=True):
    last_5s: _Hashrate | None = None
    last_15s: _Hashrate | None = None


class _MinerStats(msgspec.Struct, frozen=True):
    real_hashrate: _RealHashrate | None = None
    nominal_hashrate: _Hashrate | None = None


class _PowerStats(msgspec.Struct, frozen=True):
    approximated_consumption: _Watt | None = None


class _Stats(msgspec.Struct, frozen=True):
    miner_stats: _MinerStats
    power_stats: _PowerStats = _PowerStats()


class _PowerTarget(msgspec.Struct, frozen=True):
    current_target: _Watt | None = None


class _Mode(msgspec.Struct, frozen=True):
    powertargetmodestate: _PowerTarget | None = None


class _Tuner(msgspec.Struct, frozen=True):
    overall_tuner_state: Annotated[int, Meta(ge=0, le=100)]
    mode_state: _Mode | None = None


class _Celsius(msgspec.Struct, frozen=True):
    degree_c: float


class _Highest(msgspec.Struct, frozen=True):
    temperature: _Celsius | None = None


class _Board(msgspec.Struct, frozen=True):
    lowest_inlet_temp: _Celsius | None = None
    highest_outlet_temp: _Celsius | None = None
    highest_chip_temp: _Highest | None = None


class _Boards(msgspec.Struct, frozen=True):
    hashboards: Annotated[list[_Board], Meta(max_length=64)] = []


class _Login(msgspec.Struct, frozen=True):
    token: Annotated[str, Meta(min_length=1, max_length=1_024)]


_details = msgspec.json.Decoder(_Details)
_stats = msgspec.json.Decoder(_Stats)
_tuner = msgspec.json.Decoder(_Tuner)
_boards = msgspec.json.Decoder(_Boards)
_login = msgspec.json.Decoder(_Login)


class BraiinsDriver:
    """One machine. Implements drivers.base.Driver."""

    def __init__(self, unit: config.Unit, model: config.Model, connect: Connect, account: Credentials) -> None:
        self._machine = HttpMachine(connect, unit.address, config.api_port(unit, model))
        self._model = model
        self._account = account
        self._token: str | None = None
        self._is_paused = False
        self._refusal = ""  # what became of the latest login, while it is not tried again
        self._rest_s = FIRST_LOGIN_REST_S
        self._rests_until_s = -math.inf

    async def read(self) -> Reading:
        """Who it is, what it does and what it is set to. Raises UnitError."""
        details = decode(_details, await self._get("/miner/details"), "miner/details")
        stats = decode(_stats, await self._get("/miner/stats"), "miner/stats")
        tuner = decode(_tuner, await self._get("/performance/tuner-state"), "performance/tuner-state")
        boards = decode(_boards, await self._get("/miner/hw/hashboards"), "miner/hw/hashboards").hashboards
        self._is_paused = details.status == STATUS_PAUSED
        rate = _rate(stats)
        consumption = stats.power_stats.approximated_consumption
        power_w = None if consumption is None else consumption.watt
        hashing = None if rate is None else rate > 0
        asleep = self._asleep(details.status, hashing, power_w)
        nominal = stats.miner_stats.nominal_hashrate
        return Reading(
            at_s=trio.current_time(),
            serial=_serial(details),
            model_name=details.miner_identity.name[:80] or None if details.miner_identity else None,
            firmware=details.bos_version.current[:80] or None if details.bos_version else None,
            level_observed=0 if asleep else self._level(tuner) if asleep is False else None,
            asleep=asleep,
            stopping=asleep is None and self._is_paused,
            hashing=hashing,
            power_w=power_w,
            hashrate_hps=None if rate is None else rate * GIGA,
            hashrate_rated_hps=None if nominal is None else nominal.gigahash_per_second * GIGA,
            inlet_c=min(_temperatures(board.lowest_inlet_temp for board in boards), default=None),
            outlet_c=max(_temperatures(board.highest_outlet_temp for board in boards), default=None),
            chip_c=max(
                _temperatures(board.highest_chip_temp.temperature for board in boards if board.highest_chip_temp), default=None
            ),
            elapsed_s=details.system_uptime_s,
            error_bits=(TUNER_ERROR,) if tuner.overall_tuner_state == TUNER_ERROR else (),
        )

    async def set_level(self, level: int) -> Outcome:
        """Send what leads to `level`. Never raises UnitError; a reading proves the rest."""
        if level == 0:
            return await self._write("/actions/pause")
        target = await self._write("/performance/power-target", {"watt": self._model.levels[level - 1].setting})
        if not self._is_paused or target.answer in (Answer.UNSENT, Answer.LOST):
            return target
        # It should wake on the right target; whether it takes one while paused or refuses, it is read back once it runs.
        return await self._write("/actions/resume")

    def _asleep(self, status: int, hashing: bool | None, power_w: float | None) -> bool | None:
        """True is proven by paused, no hashes and hardly any power together. Between is None."""
        if status == STATUS_PAUSED:
            return True if hashing is False and is_dark(power_w, self._model) else None
        # Not started, suspended, restricted: not asked to sleep, and only hashes prove that it is awake.
        return False if status == STATUS_NORMAL or hashing else None

    def _level(self, tuner: _Tuner) -> int | None:
        state = tuner.mode_state.powertargetmodestate if tuner.mode_state else None
        if state is None or state.current_target is None:
            return None  # it follows a hashrate, or nothing: somebody else's setting
        return level_of_setting(state.current_target.watt, self._model)

    async def _write(self, path: str, body: object = None) -> Outcome:
        try:
            reply = await self._ask("PUT", path, body)
        except _NotEvenAsked as problem:
            return Outcome(Answer.UNSENT, str(problem))
        except _LoginRefused as problem:
            return Outcome(Answer.REFUSED, str(problem))
        except UnitError as problem:
            return failed_outcome(problem)
        if reply.status in UNAUTHORIZED:
            return Outcome(Answer.REFUSED, f"{path}: status {reply.status}: check api_user and api_password_file")
        return outcome_of(reply, path)

    async def _get(self, path: str) -> bytes:
        reply = await self._ask("GET", path)
        if reply.status in UNAUTHORIZED:
            raise UnitError(f"it refuses {path} with status {reply.status}: check api_user and api_password_file")
        if not reply.is_good:
            raise UnitError(f"it answers {path} with status {reply.status}: {reply.text}")
        return reply.body

    async def _ask(self, method: str, path: str, body: object = None) -> HttpReply:
        """One request with a token that holds. A token that is refused means that nothing was done: one more with a new one."""
        is_new = self._token is None
        token = self._token or await self._log_in()
        reply = await self._machine.ask(method, ROOT + path, body, token=token)
        if reply.status in UNAUTHORIZED:
            self._token = None
            if not is_new:
                token = await self._log_in()
                reply = await self._machine.ask(method, ROOT + path, body, token=token)
        return reply

    async def _log_in(self) -> str:
        if trio.current_time() < self._rests_until_s:
            raise _LoginRefused(self._refusal)
        body = {"username": self._account.user, "password": self._account.password}
        try:
            reply = await self._machine.ask("POST", f"{ROOT}/auth/login", body)
            if reply.status in UNAUTHORIZED:
                self._rests_until_s = trio.current_time() + self._rest_s
                self._rest_s = min(2 * self._rest_s, LAST_LOGIN_REST_S)
                self._refusal = (
                    f"it refuses the login of {self._account.user} ({reply.status}): check api_user and api_password_file;"
                    " it is tried again after some minutes only, so that the account is not locked"
                )
                raise _LoginRefused(self._refusal)
            if not reply.is_good:
                raise _NotEvenAsked(f"it answers the login with status {reply.status}: {reply.text}")
            self._token = decode(_login, reply.body, "auth/login").token
        except NoAnswer as problem:
            raise _NotEvenAsked(str(problem)) from problem
        self._rest_s = FIRST_LOGIN_REST_S
        return self._token


class _NotEvenAsked(UnitError):
    """The login got no usable answer, so what was to follow it was never sent."""


class _LoginRefused(UnitError):
    """Wrong account or password: nothing else was asked."""


def _rate(stats: _Stats) -> float | None:
    rates = stats.miner_stats.real_hashrate
    told = rates and (rates.last_5s or rates.last_15s)
    return told.gigahash_per_second if told else None


def _serial(details: _Details) -> str | None:
    if details.serial_number:
        return details.serial_number.strip().lower()[:80] or None
    return f"mac:{details.mac_address.strip().lower()}"[:80] if details.mac_address else None


def _temperatures(told: Iterable[_Celsius | None]) -> list[float]:
    values = (temperature(each.degree_c) for each in told if each is not None)
    return [value for value in values if value is not None]
