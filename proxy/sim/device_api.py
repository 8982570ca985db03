"""What a simulated Avalon says on its CGMiner API: requests in, replies out, garbled where a fault says so.

State and physics are `device`'s. Formats follow replies of real machines (A13 to A15, Q); where kinds differ, the hydro ones'.
"""

import re
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from proxy.sim.device import SimDevice

Nonsense = Literal["not_json", "huge", "half", "no_nul", "empty", "wrong_code", "negative", "nan", "absurd", "other_modules"]

DESCRIPTION = "cgminer 4.11.1"
HUGE_BYTES = 300 * 1024
NO_SENSOR_C = -273
GHS = 1e9

_Row = dict[str, str | int]


def answer(device: "SimDevice", request: bytes) -> bytes | None:
    """The reply to one request, NUL included; None: close without a word."""
    text = request.decode("utf-8", errors="replace").strip()
    is_json = text.startswith("{")
    command, parameter = _json_request(text) if is_json else _text_request(text)
    if command == "ascset":
        reply = _ascset(device, parameter)
        if reply is None:
            return None
        status, code, message = reply
        rows: tuple[str, list[_Row]] | None = None
    else:
        status, code, message, rows = _query(device, command)
    if device.faults.nonsense == "wrong_code":
        code = 999
    encode = _json if is_json else _text
    return _garble(device, encode(status, code, message, device.clock_unix_s, rows))


def summary(device: "SimDevice") -> str:
    """The MM block: every word is a measurement of the device as it is now."""
    running = device.is_running
    speed_ghs = device.hashrate_hps / GHS
    rated = next((level.hashrate_hps for level in device.spec.levels if level.setting == device.setting), 0.0)
    target_w = next((level.power_w for level in device.spec.levels if level.setting == device.setting), 0.0)
    work = "In Work" if running else "In Init" if device.is_starting else "In Idle"
    is_dark = not running
    board_w = 0 if is_dark and device.power_w < device.spec.levels[0].power_w / 10 else round(device.power_w * 0.91)
    gone = device.faults.no_sensors
    words = {
        "Ver": device.spec.firmware,
        "DNA": device.serial,
        "STATE": 1 if running else 2,
        "NETFAIL": "0 0 0 0 0 0 0 0",
        "SYSTEMSTATU": f"Work: {work}, Hash Board: 4 ",
        "Elapsed": device.elapsed_s,
        "BOOTBY": f"0x{device.boot_by:02x}.00000000",
        "DH": "1.299%",
        "ITemp": NO_SENSOR_C if gone else round(device.inlet_c),
        "HBITemp": NO_SENSOR_C if gone else round(device.inlet_c),
        "HBOTemp": NO_SENSOR_C if gone else round(device.outlet_c),
        "TMax": NO_SENSOR_C if gone else 0 if is_dark else round(device.chip_c),
        "TAvg": NO_SENSOR_C if gone else 0 if is_dark else round(device.chip_c - 6),
        "PS": f"0 1209 {0 if is_dark else 1187} {board_w // 12} {board_w} 1188 {round(device.power_w)}",
        # Enough digits for a machine of some hundred hashes a second: the demo has such.
        "GHSspd": f"{speed_ghs:.2f}" if speed_ghs == 0 or speed_ghs >= 10 else f"{speed_ghs:.12f}",
        "GHSmm": f"{rated / GHS:.12f}" if rated < 10 * GHS else f"{rated / GHS:.2f}",
        "PING": 12,
        "SoftOFF": device.soft_off,
        "ECHU": "0 0 0 0",
        "ECMM": 0,
        device.spec.setting_command.upper(): device.setting,
        "MPO": round(target_w),
        "ADJ": 0 if device.faults.calibrating else 1,
    }
    text = " ".join(f"{key}[{value}]" for key, value in words.items())
    match device.faults.nonsense:
        case "negative":
            return re.sub(r"PS\[[^]]*\]", "PS[0 1209 1187 -40 -500 1188 -550]", text)
        case "nan":
            return re.sub(r"GHSspd\[[^]]*\]", "GHSspd[nan]", text)
        case "absurd":
            return re.sub(r"PS\[[^]]*\]", "PS[0 1209 1187 618 7338 1188 80640000]", text)
        case _:
            return text


def _query(device: "SimDevice", command: str) -> tuple[str, int, str, tuple[str, list[_Row]] | None]:
    match command:
        case "version":
            row: _Row = {
                "CGMiner": "4.11.1",
                "API": "3.7",
                "PROD": device.spec.product,
                "MODEL": device.spec.product.rsplit(" ", 1)[-1],
                "HWTYPE": "MM4v2_X3",
                "SWTYPE": "MM319",
                "VERSION": device.spec.firmware,
                "DNA": device.serial,
                "MAC": device.serial[-12:],
            }
            return "S", 22, "CGMiner versions", ("VERSION", [row])
        case "estats" | "stats" | "litestats":
            block = f"'STATS':{{{device.telemetry()}}}"
            row = {"STATS": 0, "ID": "AVA100", "Elapsed": device.elapsed_s, "MM ID0:Summary": block, "MM Count": 1}
            if device.faults.nonsense == "other_modules":
                row["MM ID1:Summary"] = block
            return "S", 70, "CGMiner stats", ("STATS", [row])
        case "summary":
            row = {"Elapsed": device.elapsed_s, "MHS 5s": round(device.hashrate_hps / 1e6)}
            return "S", 11, "Summary", ("SUMMARY", [row])
        case "pools":
            row = {
                "POOL": 0,
                "URL": "stratum+tcp://127.0.0.1:3333",
                "Status": "Dead" if device.faults.no_work else "Alive",
                "Priority": 0,
            }
            return "S", 7, "1 Pool(s)", ("POOLS", [row])
        case "\0":
            return "E", 23, "Invalid JSON", None
        case _:
            return "E", 14, "Invalid command", None


def _ascset(device: "SimDevice", parameter: str) -> tuple[str, int, str] | None:
    _, _, rest = parameter.partition(",")
    option, _, setting = rest.partition(",")
    faults = device.faults
    if option == "help":
        return "I", 118, f"ASC 0 set info: {'|'.join(_options(device))}|"
    if faults.lost_requests > 0:
        faults.lost_requests -= 1
        return None
    device.writes.append(rest)
    if faults.refuses is not None:
        return "E", 120, f"ASC 0 set failed: {faults.refuses}"
    if option not in _options(device):
        return "E", 120, f"ASC 0 set failed: Unknown option: {option}"
    if faults.calibrating and option in ("worklevel", "workmode"):
        return "E", 120, f"ASC 0 set failed: current mode {device.setting} is caling Don't permit switch mode"
    said = ("S", 119, "ASC 0 set OK") if faults.no_effect else _carry_out(device, option, setting)
    if faults.lost_answers > 0:
        faults.lost_answers -= 1
        return None
    return said


def _carry_out(device: "SimDevice", option: str, setting: str) -> tuple[str, int, str]:
    if option == "reboot":
        device.reboot()
        return "S", 119, "ASC 0 set OK"
    if option in ("softoff", "softon"):
        _, _, moment = setting.partition(":")
        at_unix_s = int(moment) if moment.isdigit() else None
        (device.fall_asleep if option == "softoff" else device.wake_up)(at_unix_s)
        return ("S", 119, "ASC 0 set OK") if at_unix_s is None else ("I", 118, f"ASC 0 set info: success {option}:{setting}")
    word, _, number = setting.rpartition(",")
    if not re.fullmatch(r"-?\d{1,3}", number) or word not in ("", "set"):
        return "E", 120, f"ASC 0 set failed: {option} unknown argument"
    if int(number) not in {level.setting for level in device.spec.levels}:
        return "E", 120, f"ASC 0 set failed: {option} unknown argument"
    if word == "set":
        device.change_setting(int(number))
    else:
        device.next_setting = int(number)  # the old form waits for a reboot
    return "S", 119, "ASC 0 set OK"


def _options(device: "SimDevice") -> list[str]:
    wake = ["softon"] if device.spec.wake == "softon" else []
    return [
        "help",
        "voltage",
        "lcd",
        device.spec.setting_command,
        "reboot",
        *wake,
        "softoff",
        "frequency",
        "loop",
        "password",
        "time",
    ]


def _json_request(text: str) -> tuple[str, str]:
    try:
        row = msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        return "\0", ""
    return row.get("command", ""), row.get("parameter", "")


def _text_request(text: str) -> tuple[str, str]:
    command, _, parameter = text.partition("|")
    return command, parameter


def _json(status: str, code: int, message: str, when_unix_s: int, rows: tuple[str, list[_Row]] | None) -> bytes:
    head = {"STATUS": status, "When": when_unix_s, "Code": code, "Msg": message, "Description": DESCRIPTION}
    body: dict[str, object] = {"STATUS": [head]}
    if rows is not None:
        body[rows[0]] = rows[1]
    body["id"] = 1
    return msgspec.json.encode(body) + b"\0"


def _text(status: str, code: int, message: str, when_unix_s: int, rows: tuple[str, list[_Row]] | None) -> bytes:
    text = f"STATUS={status},When={when_unix_s},Code={code},Msg={message},Description={DESCRIPTION}|"
    if rows is not None:
        name, entries = rows
        for entry in entries:
            fields = ",".join(f"{key}={value}" for key, value in entry.items())
            # Rows that begin with their own number carry no name.
            text += f"{fields}|" if name in ("STATS", "POOLS") else f"{name},{fields}|"
    return text.encode() + b"\0"


def _garble(device: "SimDevice", reply: bytes) -> bytes:
    match device.faults.nonsense:
        case "not_json":
            return b"<html><title>401 Unauthorized</title></html>\0"
        case "huge":
            return b"{" + b" " * HUGE_BYTES + reply[1:]
        case "half":
            return reply[: len(reply) // 2]
        case "no_nul":
            return reply.rstrip(b"\0")
        case "empty":
            return b"\0"
        case _:
            return reply
