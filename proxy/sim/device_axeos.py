"""A simulated Bitaxe with AxeOS: HTTP without accounts, frequency and core voltage, pause and resume, restart.

Formats follow the API description of ESP-Miner (mid-2026) and a reply of a Bitaxe with version 2.4.
"""

from typing import Any

import msgspec

from proxy.sim.device import Phase
from proxy.sim.device_face import Fate, HttpDevice

GIGA = 1e9


class _Settings(msgspec.Struct):
    frequency: float
    coreVoltage: float | None = None  # noqa: N815 - as on the wire


class SimAxeos(HttpDevice):
    """One machine. Its settings are frequencies in MHz."""

    can_pause = True  # firmware from mid-2026 on
    core_voltage_mv = 1_150.0
    is_overheated = False

    def reply(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        """Status and content, or None where an answer is lost."""
        if (method, path) == ("GET", "/api/system/info"):
            if self.faults.nonsense == "wrong_code":
                return 401, b"Unauthorized"
            return 200, msgspec.json.encode(self._info())
        if method == "GET":
            return 404, b"Nothing matches the given URI"
        is_setting = method == "PATCH"
        fate = self.fate(f"{method} {path} {body.decode()}".strip(), is_setting=is_setting)
        if fate is Fate.DROP:
            return None
        if fate is Fate.REFUSE:
            return 400, str(self.faults.refuses).encode()
        if fate is Fate.CALIBRATING:
            return 400, b"not ready"
        answer = (200, b"") if fate is Fate.IGNORE else self._carry_out(method, path, body)
        return None if self.loses_answer() else answer

    def _carry_out(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        match method, path:
            case "PATCH", "/api/system":
                try:
                    settings = msgspec.json.decode(body, type=_Settings)
                except msgspec.DecodeError:
                    return 400, b"Wrong API input"
                if settings.frequency not in {level.setting for level in self.spec.levels}:
                    return 400, b"Wrong API input"
                self.core_voltage_mv = settings.coreVoltage or self.core_voltage_mv
                if self.spec.change_reboots:
                    self.next_setting = int(settings.frequency)
                else:
                    self.change_setting(int(settings.frequency))
                return 200, b""
            case "POST", "/api/system/pause" if self.can_pause:
                self.fall_asleep(None)
                return 200, b'{"message":"Mining paused"}'
            case "POST", "/api/system/resume" if self.can_pause:
                self.wake_up(None)
                return 200, b'{"message":"Mining resumed"}'
            case "POST", "/api/system/restart":
                self.reboot()
                return 200, b'{"message":"System will restart shortly."}'
            case _:
                return 405, b"Request method for this URI is not handled by server"

    def _info(self) -> dict[str, Any]:
        paused = {"miningPaused": self.phase is Phase.ASLEEP} if self.can_pause else {}
        rated = next((level.hashrate_hps for level in self.spec.levels if level.setting == self.setting), 0.0)
        return {
            "ASICModel": "BM1370",
            "power": self.told_power_w(),
            "voltage": 5175,
            "temp": -1 if self.faults.no_sensors or not self.is_running else round(self.chip_c, 2),
            "hashRate": "nan" if self.faults.nonsense == "nan" else self.hashrate_hps / GIGA,
            "expectedHashrate": rated / GIGA,
            "coreVoltage": self.core_voltage_mv,
            "frequency": self.setting,
            "macAddr": ":".join(self.serial[-12:][i : i + 2] for i in range(0, 12, 2)).upper(),
            "overheat_mode": 1 if self.is_overheated else 0,
            "uptimeSeconds": self.elapsed_s,
            "version": "v2.12.0",
        } | paused
