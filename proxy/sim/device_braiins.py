"""A simulated machine with Braiins OS: REST with a login, a power target, pause and resume.

Formats follow replies of an Antminer S21 Pro with firmware 26.04 (API 1.3).
"""

from typing import Any

import msgspec

from proxy.sim.device import Phase
from proxy.sim.device_face import Fate, HttpDevice

GIGA = 1e9
NOT_STARTED, NORMAL, PAUSED = 1, 2, 3
TUNER_STABLE, TUNER_TUNING = 2, 3


class _Login(msgspec.Struct):
    username: str
    password: str


class _Watt(msgspec.Struct):
    watt: int


class SimBraiins(HttpDevice):
    """One machine. Its settings are watts."""

    password = "letmein"
    account = "root"
    tokens_issued = 0
    refused_logins = 0
    forgets_tokens = False  # no token holds until it is used
    token: str | None = None  # the one that holds; None after it has timed out

    def reply(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes] | None:
        """Status and content, or None where an answer is lost."""
        if (method, path) == ("POST", "/api/v1/auth/login"):
            return self._log_in(body)
        if self.token is None or self.forgets_tokens or headers.get("authorization") != self.token:
            return 401, _json({"message": "unauthorized"})
        if method == "GET":
            return self._query(path.removeprefix("/api/v1"))
        return self._write(method, path.removeprefix("/api/v1"), body)

    def _log_in(self, body: bytes) -> tuple[int, bytes]:
        try:
            login = msgspec.json.decode(body, type=_Login)
        except msgspec.DecodeError:
            return 400, _json({"message": "invalid body"})
        if (login.username, login.password) != (self.account, self.password):
            self.refused_logins += 1
            return 401, _json({"message": "invalid username or password"})
        self.tokens_issued += 1
        self.token = f"token{self.tokens_issued}"
        return 200, _json({"token": self.token, "timeout_s": 3600})

    def _query(self, path: str) -> tuple[int, bytes]:
        if self.faults.nonsense == "wrong_code":
            return 500, _json({"message": "internal error"})
        views = {
            "/miner/details": self._details,
            "/miner/stats": self._stats,
            "/performance/tuner-state": self._tuner,
            "/miner/hw/hashboards": self._boards,
        }
        view = views.get(path)
        return (404, _json({"message": "not found"})) if view is None else (200, _json(view()))

    def _write(self, method: str, path: str, body: bytes) -> tuple[int, bytes] | None:
        is_setting = path == "/performance/power-target"
        fate = self.fate(f"{path} {body.decode()}".strip(), is_setting=is_setting)
        if fate is Fate.DROP:
            return None
        if fate is Fate.REFUSE:
            return 400, _json({"message": self.faults.refuses})
        if fate is Fate.CALIBRATING:
            return 409, _json({"message": "tuning in progress"})
        answer = (200, _json({})) if fate is Fate.IGNORE else self._carry_out(method, path, body)
        return None if self.loses_answer() else answer

    def _carry_out(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        match method, path:
            case "PUT", "/actions/pause":
                already = self.phase is Phase.ASLEEP
                self.fall_asleep(None)
                return 200, _json(already)
            case "PUT", "/actions/resume":
                already = self.phase is not Phase.ASLEEP
                self.wake_up(None)
                return 200, _json(already)
            case "PUT", "/performance/power-target":
                try:
                    target = msgspec.json.decode(body, type=_Watt).watt
                except msgspec.DecodeError:
                    return 400, _json({"message": "invalid body"})
                if target not in {level.setting for level in self.spec.levels}:
                    return 400, _json({"message": "power target is out of range"})
                self.change_setting(target)
                return 200, _json({"watt": target})
            case _:
                return 404, _json({"message": "not found"})

    def _details(self) -> dict[str, Any]:
        status = {Phase.ASLEEP: PAUSED, Phase.STARTING: NOT_STARTED}.get(self.phase, NORMAL)
        return {
            "bos_version": {"current": "2026-04-14-0-912d084c-26.04-plus", "bos_plus": True},
            "bosminer_uptime_s": self.elapsed_s,
            "mac_address": "02:8f:77:ec:e7:e0",
            "miner_identity": {"brand": 1, "name": "Antminer S21 Pro"},
            "serial_number": self.serial,
            "status": status,
            "system_uptime_s": self.elapsed_s,
        }

    def _stats(self) -> dict[str, Any]:
        rate = "nan" if self.faults.nonsense == "nan" else self.hashrate_hps / GIGA
        rates = {f"last_{span}": {"gigahash_per_second": rate} for span in ("5s", "15s", "1m", "15m")}
        nominal = next((level.hashrate_hps for level in self.spec.levels if level.setting == self.setting), 0.0)
        return {
            "miner_stats": {"real_hashrate": rates, "nominal_hashrate": {"gigahash_per_second": nominal / GIGA}},
            "pool_stats": {"accepted_shares": 848},
            "power_stats": {"approximated_consumption": {"watt": round(self.told_power_w())}, "efficiency": None},
        }

    def _tuner(self) -> dict[str, Any]:
        return {
            "mode_state": {"powertargetmodestate": {"current_target": {"watt": self.setting}, "profile": None}},
            "overall_tuner_state": TUNER_TUNING if self.faults.calibrating else TUNER_STABLE,
        }

    def _boards(self) -> dict[str, Any]:
        gone = self.faults.no_sensors
        board = {
            "id": "1",
            "lowest_inlet_temp": None if gone else {"degree_c": round(self.inlet_c, 1)},
            "highest_outlet_temp": None if gone else {"degree_c": round(self.outlet_c, 1)},
            "highest_chip_temp": None if gone else {"id": 1, "temperature": {"degree_c": round(self.chip_c, 1)}},
        }
        return {"hashboards": [board] * 3}


def _json(content: object) -> bytes:
    return msgspec.json.encode(content)
