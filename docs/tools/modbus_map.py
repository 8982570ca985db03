"""Makes docs/reference/modbus.md and deploy/modbus/registers.csv from the register map of the program, so that none can differ."""

import csv
import io
import sys
from enum import IntEnum
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from generated import publish

from proxy.heat.mbap import ExcCodes
from proxy.heat.signals.modbus_map import ENTRIES, FIRST_NUMBER, REPORTED, WRITABLE, Alarm, Entry, Ladder, Mode, Quality, Refusal

INTRODUCTION = """\
# Modbus register map

<!-- Made by docs/tools/modbus_map.py from proxy/heat/signals/modbus_map.py: change it there, then `make docs`. -->

Modbus TCP; the site is the server (slave), the utility's controller the client (master). How to connect one:
[connect a PLC](../how-to/connect-a-plc.md). The same table for import: `deploy/modbus/registers.csv`.

- Register 40001 is address 0 on the wire. Functions 3 and 4 read the same registers; functions 6 and 16 write. Everything else is
  refused with exception 1.
- `f32` is an IEEE 754 float, `u32` an unsigned number, each in two registers, the high word first (`word_order = "big"`;
  `"little"` turns the words around in the whole map). Bytes in a register are always high first.
- Both registers of a 32-bit value must be written in one request of function 16. Half a value is refused with exception 2.
- A request counts whole or not at all. Only an emergency stop in it is taken even when the rest is refused.
- Unknown reads as NaN (`7FC0 0000`), an unknown counter as `FFFF FFFF`. It is never 0.
- A read or write must stay within 40001 to {last_written} or within {first_report} to {last_report}.
- Reading what the master writes gives what was taken, not what was sent.
"""


def page() -> str:
    """The whole page."""
    text = INTRODUCTION.format(
        last_written=_number(WRITABLE[-1].addresses[-1]),
        first_report=_number(REPORTED[0].address),
        last_report=_number(REPORTED[-1].addresses[-1]),
    )
    parts = [text, "## The master writes\n", _table(WRITABLE), "## The master reads\n", _table(REPORTED)]
    for title, kind, notes in (
        ("Mode, 40002", Mode, _MODES),
        ("Quality, 40102", Quality, _QUALITIES),
        ("State, 40115", Ladder, _LADDER),
        ("Bits of the alarm word, 40116", Alarm, _ALARMS),
        ("Last refusal, 40126", Refusal, _REFUSALS),
    ):
        parts += [f"## {title}\n", _members(kind, notes)]
    parts += ["## Exception codes\n", _exceptions()]
    return "\n".join(parts)


_MODES: dict[int, str] = {
    Mode.NONE: "no demand from here: another source, or the heat curve, rules once the last demand has expired",
    Mode.POWER: "40003 is asked for",
    Mode.SUPPLY: "40005 is asked for; the heat follows from it",
}
_QUALITIES: dict[int, str] = {
    Quality.UNKNOWN: "no meter and no reading of the units",
    Quality.MEASURED: "the heat meter at the boundary",
    Quality.SUMMED: "the meters of all loops together",
    Quality.ESTIMATED: "electrical power times efficiency",
}
_LADDER: dict[int, str] = {
    Ladder.UNKNOWN: "before the first control cycle",
    Ladder.LIVE: "a valid demand, or the heat curve as a mode, is followed",
    Ladder.HOLD: "the demand is stale: the last one is held",
    Ladder.FALLBACK: "stale for longer: heat curve, or fallback power",
    Ladder.LIMIT: "stale for long: the configured safe level",
    Ladder.STOP: "everything is asleep",
}
_ALARMS: dict[int, str] = {
    Alarm.ANY: "there is an alarm, see the site's page",
    Alarm.ALIVE_LOST: "the master's alive counter does not move: its set-points are not valid",
    Alarm.STOPPED: "an emergency stop or an operator's stop is in force",
    Alarm.NOT_METERED: "heat is not metered: it is estimated or unknown",
    Alarm.METER: "a meter is lost, stuck, lying or jumping",
    Alarm.WRITE_REFUSED: "a write was refused within the alive time-out, see 40126",
    Alarm.NOT_LIVE: "the state is not LIVE",
    Alarm.SECOND_MASTER: "a second master tried to write within the alive time-out",
}
_REFUSALS: dict[int, str] = {
    Refusal.NONE: "none yet",
    Refusal.NOT_A_NUMBER: "NaN or infinite",
    Refusal.NEGATIVE: "negative power",
    Refusal.OUT_OF_RANGE: "no power, temperature or mode that can be meant; often two words the wrong way round",
    Refusal.HALF_A_VALUE: "one of the two registers of a value only",
    Refusal.ANOTHER_MASTER: "another host is the master and alive",
    Refusal.ANOTHER_SOURCE: "another transport's demand rules",
    Refusal.NO_SUCH_REGISTER: "outside the map",
    Refusal.NOT_WRITABLE: "the report cannot be written",
    Refusal.NOT_FOLLOWED: "heat control refuses it: more than twice what is installed, or a jump that the site does not allow",
    Refusal.MALFORMED: "the write contradicts itself: a count that is not that of its values, or bytes too many",
    Refusal.TOO_FAST: "set-points change faster than one a second, for more than ten seconds",
}
_EXCEPTIONS = (
    (ExcCodes.ILLEGAL_FUNCTION, "illegal function", "not one of 3, 4, 6 and 16"),
    (ExcCodes.ILLEGAL_ADDRESS, "illegal data address", "outside the map, only read, or half of a 32-bit value"),
    (ExcCodes.ILLEGAL_VALUE, "illegal data value", "no number, negative, absurd, out of range; or a malformed request"),
    (ExcCodes.DEVICE_BUSY, "server device busy", "another master or another source rules, or set-points change too fast"),
    (ExcCodes.GATEWAY_NO_RESPONSE, "gateway target failed to respond", "another unit identifier than `device_id`"),
)


def registers_csv() -> str:
    """The map for import: one line a value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("register", "address", "registers", "type", "access", "name", "unit", "meaning"))
    for entry in ENTRIES:
        access = "RW" if entry.is_writable else "R"
        length = len(entry.addresses)
        writer.writerow((_number(entry.address), entry.address, length, entry.kind, access, entry.name, entry.unit, entry.meaning))
    return text.getvalue()


def _number(address: int) -> int:
    return FIRST_NUMBER + address


def _table(entries: tuple[Entry, ...]) -> str:
    rows = ["| register | address | type | unit | name | meaning |", "|---|---|---|---|---|---|"]
    for entry in entries:
        number = str(_number(entry.address))
        if len(entry.addresses) > 1:
            number += f", {_number(entry.addresses[-1])}"
        rows.append(f"| {number} | {entry.address} | {entry.kind} | {entry.unit} | `{entry.name}` | {entry.meaning} |")
    return "\n".join(rows) + "\n"


def _members(kind: type[IntEnum], notes: dict[int, str]) -> str:
    rows = ["| value | name | meaning |", "|---|---|---|"]
    rows += [f"| {member.value} | {member.name} | {notes[member.value]} |" for member in kind]
    return "\n".join(rows) + "\n"


def _exceptions() -> str:
    rows = ["| code | name in the standard | when |", "|---|---|---|"]
    rows += [f"| {code.value} | {name} | {when} |" for code, name, when in _EXCEPTIONS]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    arguments = sys.argv[1:]
    results = (publish("modbus.md", page(), arguments), publish("../../deploy/modbus/registers.csv", registers_csv(), arguments))
    sys.exit(max(results))
