"""A simulated Whatsminer behind API v3: framed JSON, salted tokens, a percentage that every restart forgets.

Formats follow replies of an M60S (firmware 20251209, API 3.0.2) and an M63S++ (20260312, API 3.0.5).
"""

import struct
from typing import Any, Literal

import msgspec
import trio

from proxy.sim.device import Phase
from proxy.sim.device_face import LIMIT_BYTES, FacedDevice, Fate
from proxy.units.drivers.whatsminer import make_token

TERA = 1e12
OK, FAILED, UNKNOWN_COMMAND, BAD_JSON, DENIED = 0, -1, -2, -3, -4
TOKEN_LIFE_S = 60
FULL_PERCENT = 100


class _Request(msgspec.Struct):
    cmd: str
    param: Any = None
    ts: int = 0
    token: str = ""
    account: str = ""


class SimWhatsminer(FacedDevice):
    """One machine. Its settings are percentages; the highest level should be 100."""

    password = "super"  # as shipped
    account = "super"
    salt = "uhCiDyVj"
    percent_as: Literal["text", "number", "any"] = "any"
    mistakes_form_silently = False  # says OK to the form of percentage that it cannot read
    tells_percent = True  # from API 3.0.3 on
    tunes_until_s = 0.0  # takes no percentage before
    tuning_s = 60.0  # after each start
    refused_logins = 0  # writes with a token that is none

    async def converse(self, stream: trio.abc.Stream) -> None:
        """One frame in, one frame out."""
        received = bytearray()
        while len(received) < 4 or len(received) < 4 + struct.unpack_from("<I", received)[0]:
            chunk = await stream.receive_some(LIMIT_BYTES)
            if not chunk or len(received) > LIMIT_BYTES:
                return
            received += chunk
        answer = self._answer(bytes(received[4:]))
        if self.slow_s:
            await trio.sleep(self.slow_s)
        if answer is None:
            return
        content = self.garbled(msgspec.json.encode(answer))
        if self.faults.nonsense == "no_nul":
            content += b"\0" * 8
            await stream.send_all(struct.pack("<I", 0xFFFF_FFF0) + content)
        elif self.faults.nonsense == "half":
            await stream.send_all(struct.pack("<I", 2 * len(content)) + content)
        else:
            await stream.send_all(struct.pack("<I", len(content)) + content)

    @property
    def is_tuned(self) -> bool:
        """It has finished raising its clocks since the last start."""
        return self.phase is Phase.RUNNING and self._now_s >= self.tunes_until_s

    def _answer(self, content: bytes) -> dict[str, Any] | None:
        try:
            request = msgspec.json.decode(content, type=_Request)
        except msgspec.DecodeError:
            return self._reply(BAD_JSON, "invalid json", "")
        if not request.cmd.startswith("set."):
            return self._query(request)
        if not self._may_write(request):
            self.refused_logins += 1
            return self._reply(DENIED, "access denied", request.cmd)
        return self._write(request)

    def _query(self, request: _Request) -> dict[str, Any]:
        match request.cmd, request.param:
            case "get.device.info", "salt":
                return self._reply(OK, {"salt": self.salt}, request.cmd)
            case "get.device.info", _:
                return self._reply(OK, self._info(), request.cmd)
            case "get.miner.status", str(views) if "summary" in views:
                return self._reply(OK, {"summary": self._summary()}, request.cmd)
            case "get.miner.setting", _ if self.tells_percent:
                percent = 0 if self.setting == FULL_PERCENT else self.setting
                return self._reply(OK, {"power-limit": 3600, "power-mode": "normal", "power-percent": percent}, request.cmd)
            case _:
                return self._reply(UNKNOWN_COMMAND, "invalid command", request.cmd)

    def _may_write(self, request: _Request) -> bool:
        is_fresh = abs(request.ts - self.clock_unix_s) <= TOKEN_LIFE_S
        good = make_token(request.cmd, self.password, self.salt, request.ts)
        return is_fresh and request.account == self.account and request.token == good

    def _write(self, request: _Request) -> dict[str, Any] | None:
        is_percent = request.cmd == "set.miner.power_percent"
        fate = self.fate(f"{request.cmd} {msgspec.json.encode(request.param).decode()}", is_setting=is_percent)
        if fate is Fate.DROP:
            return None
        if fate is Fate.REFUSE:
            return self._reply(FAILED, str(self.faults.refuses), request.cmd)
        if fate is Fate.CALIBRATING or (is_percent and not self.is_tuned):
            return self._reply(FAILED, "miner is tuning", request.cmd)
        reply = self._reply(OK, "ok", request.cmd) if fate is Fate.IGNORE else self._carry_out(request)
        return None if self.loses_answer() else reply

    def _carry_out(self, request: _Request) -> dict[str, Any]:
        match request.cmd, request.param:
            case "set.miner.service", "stop":
                self.fall_asleep(None)
            case "set.miner.service", "start":
                if self.phase is Phase.ASLEEP:
                    self.change_setting(FULL_PERCENT)  # the percentage is not kept
                    self.wake_up(None)
                    self.tunes_until_s = self._now_s + self.spec.wake_delay_s[1] + self.tuning_s
            case "set.miner.power_percent", {"percent": str() | int() as percent, "mode": "fast" | "normal"}:
                wanted = {"text": str, "number": int}.get(self.percent_as)
                if wanted is not None and not isinstance(percent, wanted):
                    if self.mistakes_form_silently:
                        return self._reply(OK, "ok", request.cmd)
                    return self._reply(FAILED, "param error", request.cmd)
                if not str(percent).isdigit() or int(percent) not in {level.setting for level in self.spec.levels}:
                    return self._reply(FAILED, "percent out of range", request.cmd)
                self.change_setting(int(percent))
            case _:
                return self._reply(FAILED, "param error", request.cmd)
        return self._reply(OK, "ok", request.cmd)

    def _info(self) -> dict[str, Any]:
        return {
            "miner": {
                "board-num": "3",
                "miner-sn": self.serial,
                "type": "M60S_VK40",
                "working": "true" if self.phase is not Phase.ASLEEP else "false",
            },
            "network": {"mac": "CE:02:01:00:8C:36", "proto": "dhcp"},
            "power": {"model": "P221B", "fanspeed": 6344},
            "salt": self.salt,
            "system": {"api": "3.0.5", "apiswitch": "1", "fwversion": "20260312.16.REL3", "platform": "H616"},
        }

    def _summary(self) -> dict[str, Any]:
        gone = self.faults.no_sensors
        return {
            "elapsed": self.elapsed_s,
            "bootup-time": self.elapsed_s,
            "board-temperature": [] if gone else [round(self.outlet_c, 1)] * 3,
            "chip-temp-max": -273.0 if gone else round(self.chip_c, 1) if self.is_running else 0.0,
            "factory-hash": round(self.spec.levels[-1].hashrate_hps / TERA, 3),
            "hash-realtime": "nan" if self.faults.nonsense == "nan" else round(self.hashrate_hps / TERA, 6),
            "power-realtime": self.told_power_w(),
            "power-limit": round(self.spec.levels[-1].power_w),
            "up-freq-finish": 1 if self.is_tuned else 0,
        }

    def _reply(self, code: int, message: object, command: str) -> dict[str, Any]:
        if self.faults.nonsense == "wrong_code" and code == OK:
            code = 999
        return {"code": code, "msg": message, "when": self.clock_unix_s, "desc": command}
