"""A simulated machine with LuxOS: CGMiner-like JSON, one session at a time, profiles and curtailment.

Formats follow replies of an Antminer S19k Pro with LUXminer 2025.4.8.
"""

from typing import Any

import msgspec
import trio

from proxy.sim.device import Phase
from proxy.sim.device_face import LIMIT_BYTES, FacedDevice, Fate

GIGA, TERA = 1e9, 1e12
DESCRIPTION = "LUXminer 2025.4.8.220305-57b389c7"
SESSION_LIFE_S = 60.0


class _Request(msgspec.Struct):
    command: str
    parameter: str = ""


class SimLuxos(FacedDevice):
    """One machine. Its settings are profile frequencies in MHz."""

    ends_with_nul = True
    has_thermal_management = False  # ATM: moves between profiles by itself, and refuses to be told one
    session: str | None = None
    session_used_s = 0.0
    sessions_opened = 0
    steals_session = False  # somebody logs on over whoever is there, before each write

    async def converse(self, stream: trio.abc.Stream) -> None:
        """One JSON request, one JSON answer."""
        content = bytes(await stream.receive_some(LIMIT_BYTES))
        answer = self._answer(content)
        if self.slow_s:
            await trio.sleep(self.slow_s)
        if answer is not None:
            content = self.garbled(msgspec.json.encode(answer))
            is_whole = self.ends_with_nul and self.faults.nonsense != "no_nul"
            await stream.send_all(content + (b"\0" if is_whole else b""))

    def open_session(self) -> str:
        """Somebody logs on; also for tests that are somebody else."""
        self.sessions_opened += 1
        self.session, self.session_used_s = f"sess{self.sessions_opened:04d}", self._now_s
        return self.session

    def _answer(self, content: bytes) -> dict[str, Any] | None:
        try:
            request = msgspec.json.decode(content, type=_Request)
        except msgspec.DecodeError:
            return self._fail("Invalid JSON", 23)
        if "+" in request.command:
            return {command: [self._one(command, "")] for command in request.command.split("+")} | {"id": 1}
        if request.command in ("curtail", "profileset"):
            return self._write(request)
        return self._one(request.command, request.parameter)

    def _one(self, command: str, parameter: str) -> dict[str, Any]:
        match command:
            case "summary":
                return self._ok("SUMMARY", [{"Elapsed": self.elapsed_s, "GHS 5s": self._rate(), "GHS av": 1.0}], "Summary")
            case "config":
                return self._ok("CONFIG", [self._config()], "LUXminer config")
            case "power":
                return self._ok("POWER", [{"PSU": True, "Watts": round(self.told_power_w())}], "Power usage")
            case "temps":
                return self._ok("TEMPS", self._temps(), "3 Temp(s)")
            case "profiles":
                return self._ok("PROFILES", self._profiles(), "List profiles")
            case "logon" if self._session_holds():
                return self._fail("Session in use", 14)
            case "logon":
                return self._ok("SESSION", [{"SessionID": self.open_session()}], "Session created")
            case "session":
                return self._ok("SESSION", [{"SessionID": self.session if self._session_holds() else ""}], "Session information")
            case "logoff" if parameter and parameter == self.session:
                self.session = None
                return self._ok(None, None, "Session dropped")
            case _:
                return self._fail("Invalid command", 14)

    def _session_holds(self) -> bool:
        return self.session is not None and self._now_s - self.session_used_s < SESSION_LIFE_S

    def _write(self, request: _Request) -> dict[str, Any] | None:
        if self.steals_session:
            self.open_session()
        session, _, wish = request.parameter.partition(",")
        if not self._session_holds() or session != self.session:
            return self._fail("Invalid session", 14)
        self.session_used_s = self._now_s
        fate = self.fate(f"{request.command} {wish}", is_setting=request.command == "profileset")
        if fate is Fate.DROP:
            return None
        if fate is Fate.REFUSE:
            return self._fail(str(self.faults.refuses), 14)
        if fate is Fate.CALIBRATING:
            return self._fail("Miner is tuning", 14)
        answer = self._ok(None, None, "OK") if fate is Fate.IGNORE else self._carry_out(request.command, wish)
        return None if self.loses_answer() else answer

    def _carry_out(self, command: str, wish: str) -> dict[str, Any]:
        if command == "curtail" and wish in ("sleep", "wakeup"):
            (self.fall_asleep if wish == "sleep" else self.wake_up)(None)
            return self._ok(None, None, f"Curtail {wish}")
        if command == "profileset" and self.has_thermal_management:
            return self._fail("Profile is managed by ATM", 14)
        settings = {f"{level.setting}MHz": level.setting for level in self.spec.levels}
        if command == "profileset" and wish in settings:
            self.change_setting(settings[wish])
            return self._ok("PROFILE", [{"Board": 0, "Profile": wish}], "Profile Set")
        return self._fail(f"Unknown parameter '{wish}'", 14)

    def _rate(self) -> float | str:
        return "nan" if self.faults.nonsense == "nan" else round(self.hashrate_hps / GIGA, 2)

    def _config(self) -> dict[str, Any]:
        return {
            "CurtailMode": "Sleep" if self.phase is Phase.ASLEEP else "None",
            "IsAtmEnabled": self.has_thermal_management,
            "IsPowerSupplyOn": self.phase is not Phase.ASLEEP,
            "IsTuning": self.faults.calibrating,
            "MACAddr": "62:f7:5e:b7:10:46",
            "Model": "Antminer S19k Pro",
            "NameplateTHS": round(self.spec.levels[-1].hashrate_hps / TERA, 1),
            "OS": "LuxOS",
            "Profile": f"{self.setting}MHz",
            "SerialNumber": self.serial,
            "SystemStatus": "Initializing" if self.is_starting else "Normal",
        }

    def _temps(self) -> list[dict[str, Any]]:
        if self.faults.no_sensors:
            return []
        inlet, outlet = round(self.inlet_c, 1), round(self.outlet_c, 1)
        row = {"BottomLeft": outlet, "BottomRight": inlet, "TopLeft": outlet, "TopRight": inlet}
        return [row | {"ID": index, "TEMP": index} for index in range(3)]

    def _profiles(self) -> list[dict[str, Any]]:
        return [
            {
                "Profile Name": f"{level.setting}MHz",
                "Frequency": level.setting,
                "Hashrate": round(level.hashrate_hps / TERA, 1),
                "Watts": round(level.power_w),
                "IsTuned": True,
            }
            for level in self.spec.levels
        ]

    def _ok(self, name: str | None, rows: object, message: str) -> dict[str, Any]:
        if self.faults.nonsense == "wrong_code":
            return self._fail("System error", 99)
        body = {} if name is None else {name: rows}
        return body | {"STATUS": [self._status("S", 1, message)], "id": 1}

    def _fail(self, message: str, code: int) -> dict[str, Any]:
        return {"STATUS": [self._status("E", code, message)], "id": 1}

    def _status(self, status: str, code: int, message: str) -> dict[str, Any]:
        return {"STATUS": status, "Code": code, "Msg": message, "Description": DESCRIPTION, "When": self.clock_unix_s}
