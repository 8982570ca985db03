"""The Modbus register map: one table for the server, the reference page and the CSV file that a PLC programmer imports.

Pure. Registers are counted from 0 here, as on the wire; people add 40001. What a written value does is modbus_desk's business.
"""

import math
import struct
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Literal

import msgspec

from proxy.heat.signals.port import Report

Kind = Literal["u16", "u32", "f32"]
WordOrder = Literal["big", "little"]
WORDS: dict[str, int] = {"u16": 1, "u32": 2, "f32": 2}
FIRST_NUMBER = 40_001
REPORT_AT = 100
NO_COUNT = 0xFFFF_FFFF


class Mode(IntEnum):
    """Register 40002."""

    NONE = 0
    POWER = 1
    SUPPLY = 2


class Ladder(IntEnum):
    """Register 40115: the rung of the ladder the site stands on."""

    UNKNOWN = 0
    LIVE = 1
    HOLD = 2
    FALLBACK = 3
    LIMIT = 4
    STOP = 5


class Quality(IntEnum):
    """Register 40102: where the delivered heat comes from."""

    UNKNOWN = 0
    MEASURED = 1
    SUMMED = 2
    ESTIMATED = 3


class Alarm(IntEnum):
    """Register 40116: its bits, by value."""

    ANY = 1
    ALIVE_LOST = 2
    STOPPED = 4
    NOT_METERED = 8
    METER = 16
    WRITE_REFUSED = 32
    NOT_LIVE = 64
    SECOND_MASTER = 128


class Refusal(IntEnum):
    """Register 40126: why the last refused write was refused."""

    NONE = 0
    NOT_A_NUMBER = 1
    NEGATIVE = 2
    OUT_OF_RANGE = 3
    HALF_A_VALUE = 4
    ANOTHER_MASTER = 5
    ANOTHER_SOURCE = 6
    NO_SUCH_REGISTER = 7
    NOT_WRITABLE = 8
    NOT_FOLLOWED = 9
    MALFORMED = 10
    TOO_FAST = 11


class Own(msgspec.Struct, frozen=True, gc=False):
    """What the server itself has to say in the report."""

    is_alive_lost: bool = False
    is_stop_held: bool = False
    was_write_refused: bool = False
    had_second_master: bool = False
    refusals: int = 0
    last_refusal: Refusal = Refusal.NONE


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One value of the map. `read` gives it from the report; None for what the master writes."""

    address: int
    name: str
    kind: Kind
    unit: str
    meaning: str
    read: Callable[[Report, Own], float | None] | None = None

    @property
    def is_writable(self) -> bool:
        """Whether the master may write it."""
        return self.read is None

    @property
    def addresses(self) -> range:
        """The registers it takes."""
        return range(self.address, self.address + WORDS[self.kind])


def _kw(power_w: float | None) -> float | None:
    return None if power_w is None else power_w / 1_000.0


def _kwh(report: Report, _: Own) -> float | None:
    return None if report.energy_wh is None else math.floor(report.energy_wh / 1_000.0) % NO_COUNT


def _member(kind: type[IntEnum], name: str) -> int:
    return int(kind.__members__.get(name.upper(), kind(0)))


def _alarms(report: Report, own: Own) -> float:
    bits = (
        (Alarm.ALIVE_LOST, own.is_alive_lost),
        (Alarm.STOPPED, report.ladder == "STOP" or own.is_stop_held),
        (Alarm.NOT_METERED, report.quality not in ("measured", "summed")),
        (Alarm.METER, any(alarm.startswith("meter") for alarm in report.alarms)),
        (Alarm.WRITE_REFUSED, own.was_write_refused),
        (Alarm.NOT_LIVE, report.ladder != "LIVE"),
        (Alarm.SECOND_MASTER, own.had_second_master),
        (Alarm.ANY, bool(report.alarms)),
    )
    return float(sum(bit for bit, is_set in bits if is_set))


WRITABLE = (
    Entry(0, "alive", "u16", "", "The master's alive counter: any change within the time-out keeps its set-points valid"),
    Entry(1, "mode", "u16", "", "0 no demand, 1 power, 2 supply temperature: which set-point is meant"),
    Entry(2, "power_set", "f32", "kW", "Heat asked for"),
    Entry(4, "supply_set", "f32", "C", "Supply temperature asked for"),
    Entry(6, "stop", "u16", "", "Not 0: emergency stop, all units asleep, until 0 is written"),
    Entry(7, "ramp", "u16", "kW/min", "How fast heat may change on the way to a new set-point; 0: as the site is set"),
    Entry(8, "outdoor", "f32", "C", "Outdoor temperature for the heat curve; need not be written"),
)
REPORTED = (
    Entry(
        100, "site_alive", "u16", "", "The site's alive counter: one more with every control cycle", lambda r, _: r.alive % 0x10000
    ),
    Entry(
        101, "quality", "u16", "", "Of heat: 0 unknown, 1 measured, 2 summed, 3 estimated", lambda r, _: _member(Quality, r.quality)
    ),
    Entry(102, "heat", "f32", "kW", "Heat delivered now", lambda r, _: _kw(r.heat_w)),
    Entry(104, "headroom_up", "f32", "kW", "Heat that could be added", lambda r, _: _kw(r.headroom_up_w)),
    Entry(106, "headroom_down", "f32", "kW", "Heat that could be taken away", lambda r, _: _kw(r.headroom_down_w)),
    Entry(108, "supply", "f32", "C", "Supply temperature", lambda r, _: r.supply_c),
    Entry(110, "return", "f32", "C", "Return temperature", lambda r, _: r.return_c),
    Entry(112, "flow", "f32", "l/min", "Water flow", lambda r, _: r.flow_l_per_min),
    Entry(
        114, "state", "u16", "", "0 unknown, 1 LIVE, 2 HOLD, 3 FALLBACK, 4 LIMIT, 5 STOP", lambda r, _: _member(Ladder, r.ladder)
    ),
    Entry(115, "alarms", "u16", "", "Alarm word, see its bits", _alarms),
    Entry(116, "energy", "u32", "kWh", "The heat meter's energy counter", _kwh),
    Entry(118, "power_followed", "f32", "kW", "The heat that is followed now, whoever asked", lambda r, _: _kw(r.demand_w)),
    Entry(120, "supply_followed", "f32", "C", "The supply temperature that is followed now", lambda r, _: r.supply_asked_c),
    Entry(122, "electricity", "f32", "kW", "Electrical power of all units", lambda r, _: _kw(r.power_w)),
    Entry(124, "refusals", "u16", "", "Writes refused since the start, modulo 65536", lambda _, own: own.refusals % 0x10000),
    Entry(125, "last_refusal", "u16", "", "Why the last refused write was refused", lambda _, own: float(own.last_refusal)),
)
ENTRIES = (*WRITABLE, *REPORTED)


def encode(kind: Kind, value: float | None, order: WordOrder) -> list[int]:
    """A value as registers. Unknown is NaN as a float, and all ones as a number."""
    if kind == "u16":
        return [0xFFFF if value is None else int(value) & 0xFFFF]
    if kind == "u32":
        raw = struct.pack(">I", NO_COUNT if value is None else int(value) & 0xFFFF_FFFF)
    else:
        raw = _pack_float(math.nan if value is None else value)
    words = list(struct.unpack(">HH", raw))
    return words if order == "big" else words[::-1]


def decode(kind: Kind, words: Sequence[int], order: WordOrder) -> float:
    """Registers as a value: a float as it is, NaN included."""
    if kind == "u16":
        return words[0]
    raw = struct.pack(">HH", *(words if order == "big" else words[::-1]))
    value: float = struct.unpack(">f" if kind == "f32" else ">I", raw)[0]
    return value


def report_words(report: Report, own: Own, order: WordOrder) -> dict[int, int]:
    """The report area by address."""
    words: dict[int, int] = {}
    for entry in REPORTED:
        assert entry.read is not None
        words.update(zip(entry.addresses, encode(entry.kind, entry.read(report, own), order), strict=True))
    return words


def _pack_float(value: float) -> bytes:
    try:
        return struct.pack(">f", value)
    except OverflowError:
        return struct.pack(">f", math.nan)
