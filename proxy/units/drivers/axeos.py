"""Driver for Bitaxe and its kin with AxeOS (HTTP, TCP 80): frequency and core voltage, pause and resume, restart.

It has no accounts. Its power is measured where direct current enters the board: what the supply loses is not in it. A level's
setting is a frequency in MHz, with a core voltage where the model names one.
"""

from typing import Annotated

import msgspec
import trio
from msgspec import Meta

from proxy import config
from proxy.errors import UnitError
from proxy.units.drivers.base import Answer, Connect, Outcome, Reading
from proxy.units.drivers.http import HttpMachine
from proxy.units.drivers.words import GIGA, Gigahashes, Megahertz, Seconds, Watts, decode, is_dark, temperature

METHOD_NOT_ALLOWED, NOT_FOUND = 405, 404
OVERHEAT_BIT = 1


class _Info(msgspec.Struct, frozen=True, rename="camel"):
    frequency: Megahertz
    hash_rate: Gigahashes | None = None
    expected_hashrate: Gigahashes | None = None
    power: Watts | None = None
    temp: float | None = None
    core_voltage: Annotated[float, Meta(ge=0, le=5_000)] | None = None
    mac_addr: str = ""
    mining_paused: bool | None = None
    overheat_mode: int | bool = msgspec.field(name="overheat_mode", default=0)
    uptime_seconds: Seconds | None = None
    version: str = ""
    asic_model: str = msgspec.field(name="ASICModel", default="")


_info = msgspec.json.Decoder(_Info)


class AxeosDriver:
    """One machine. Implements drivers.base.Driver."""

    def __init__(self, unit: config.Unit, model: config.Model, connect: Connect) -> None:
        self._machine = HttpMachine(connect, unit.address, config.api_port(unit, model))
        self._model = model
        self._is_paused: bool | None = None

    async def read(self) -> Reading:
        """Everything is in one answer. Raises UnitError."""
        reply = await self._machine.ask("GET", "/api/system/info")
        if not reply.is_good:
            raise UnitError(f"it answers /api/system/info with status {reply.status}: {reply.text}")
        info = decode(_info, reply.body, "/api/system/info")
        self._is_paused = info.mining_paused
        hashing = None if info.hash_rate is None else info.hash_rate > 0
        asleep = self._asleep(info, hashing)
        return Reading(
            at_s=trio.current_time(),
            serial=f"mac:{info.mac_addr.strip().lower()}"[:80] if info.mac_addr.strip() else None,
            model_name=info.asic_model[:80] or None,
            firmware=info.version[:80] or None,
            level_observed=0 if asleep else self._level(info) if asleep is False else None,
            asleep=asleep,
            stopping=asleep is None and info.mining_paused is True,
            hashing=hashing,
            power_w=info.power,
            power_is_dc=info.power is not None,
            hashrate_hps=None if info.hash_rate is None else info.hash_rate * GIGA,
            hashrate_rated_hps=None if info.expected_hashrate is None else info.expected_hashrate * GIGA,
            # -1 is its word for a sensor that does not answer.
            chip_c=temperature(info.temp) if info.temp is not None and info.temp > 0 else None,
            elapsed_s=info.uptime_seconds,
            error_bits=(OVERHEAT_BIT,) if info.overheat_mode else (),
        )

    async def set_level(self, level: int) -> Outcome:
        """Send what leads to `level`. Never raises UnitError; a reading proves the rest."""
        if level == 0:
            return _advised(await self._machine.write("POST", "/api/system/pause"))
        wanted = self._model.levels[level - 1]
        settings = {"frequency": wanted.setting}
        if wanted.core_voltage_mv is not None:
            settings["coreVoltage"] = wanted.core_voltage_mv
        outcome = await self._machine.write("PATCH", "/api/system", settings)
        if outcome.answer is not Answer.TAKEN:
            return outcome
        if self._model.change_reboots:
            # Old firmware looks at its settings only when it starts.
            return await self._machine.write("POST", "/api/system/restart")
        if self._is_paused:
            return _advised(await self._machine.write("POST", "/api/system/resume"))
        return outcome

    def _asleep(self, info: _Info, hashing: bool | None) -> bool | None:
        """True is proven by paused, no hashes and hardly any power together. Between is None."""
        if info.mining_paused is not True:
            return False
        return True if hashing is False and is_dark(info.power, self._model) else None

    def _level(self, info: _Info) -> int | None:
        matches = [
            index
            for index, level in enumerate(self._model.levels, start=1)
            if level.setting == info.frequency and (level.core_voltage_mv is None or level.core_voltage_mv == info.core_voltage)
        ]
        return matches[0] if len(matches) == 1 else None


def _advised(outcome: Outcome) -> Outcome:
    """Firmware from before mid-2026 has no pause."""
    if outcome.answer is Answer.REFUSED and any(f"status {code}" in outcome.text for code in (NOT_FOUND, METHOD_NOT_ALLOWED)):
        return Outcome(Answer.REFUSED, f"{outcome.text}: this firmware cannot pause: update it, or take the unit out for service")
    return outcome
