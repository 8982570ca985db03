"""Reads a heat meter by M-Bus (EN 13757) through a gateway that passes bytes between TCP and the bus.

pyMeterBus decodes the telegrams; the frames on the wire, what is asked and which records count are here. It judges no value (the
bank does). No secondary addresses, no wireless M-Bus: one primary address for each meter.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal

import meterbus  # type: ignore[import-untyped]  # it has no annotations
from meterbus.exceptions import (  # type: ignore[import-untyped]  # ditto
    MBusFrameCRCError,
    MBusFrameDecodeError,
    MbusFrameLengthError,
)

from proxy.config import Meter
from proxy.heat.meters.bank import MeterSample
from proxy.heat.meters.line import Line, LineError

ACKNOWLEDGE = 0xE5
SHORT_START, LONG_START, STOP = 0x10, 0x68, 0x16
# EN 13757-2: reset the link; ask for class 2 data, with the frame count bit on and off.
RESET, ASK_ON, ASK_OFF = 0x40, 0x7B, 0x5B
# EN 13757-3 status byte: what makes a meter's values worthless.
APPLICATION_BITS, PERMANENT_ERROR, TEMPORARY_ERROR = 0x03, 0x08, 0x10
# A meter with more telegrams than this is not a heat meter's normal answer.
MAX_TELEGRAMS = 4
JOULES_PER_WH = 3_600.0
_CURRENT = "FunctionType.INSTANTANEOUS_VALUE"

# By the decoder's name of a kind: the field, and the factor from the decoder's unit (Wh, J, W, J/h, m3/h, m3/min, m3/s, C).
_FIELDS: dict[str, tuple[str, float]] = {
    "VIFUnit.ENERGY_WH": ("energy_wh", 1.0),
    "VIFUnit.ENERGY_J": ("energy_wh", 1 / JOULES_PER_WH),
    "VIFUnit.POWER_W": ("power_w", 1.0),
    "VIFUnit.POWER_J_H": ("power_w", 1 / JOULES_PER_WH),
    "VIFUnit.VOLUME_FLOW": ("flow_l_per_h", 1_000.0),
    "VIFUnit.VOLUME_FLOW_EXT": ("flow_l_per_h", 60_000.0),
    "VIFUnit.VOLUME_FLOW_EXT_S": ("flow_l_per_h", 3_600_000.0),
    "VIFUnit.FLOW_TEMPERATURE": ("supply_c", 1.0),
    "VIFUnit.RETURN_TEMPERATURE": ("return_c", 1.0),
}


def short_frame(control: int, address: int) -> bytes:
    """A request without content."""
    return bytes((SHORT_START, control, address, (control + address) & 0xFF, STOP))


def take_acknowledge() -> Callable[[bytes], bool | None]:
    """Recognises the single character that acknowledges; raises ValueError for anything else."""

    def take(received: bytes) -> bool | None:
        if received[0] != ACKNOWLEDGE:
            raise ValueError(f"it answers a reset with 0x{received[0]:02x}, not with an acknowledgement")
        return True

    return take


def take_telegram() -> Callable[[bytes], bytes | None]:
    """Collects one long frame; raises ValueError as soon as the bytes cannot become one."""
    held = bytearray()

    def take(received: bytes) -> bytes | None:
        held.extend(received)
        if held[0] != LONG_START:
            raise ValueError(f"it answers with 0x{held[0]:02x}, which begins no telegram")
        if len(held) < 4:
            return None
        if held[1] != held[2] or held[3] != LONG_START:
            raise ValueError("the lengths of its telegram disagree: disturbance on the bus, or two meters with one address")
        length = held[1] + 6
        if len(held) < length:
            return None
        if held[length - 1] != STOP:
            raise ValueError("its telegram has no end: disturbance on the bus, or two meters with one address")
        return bytes(held[:length])

    return take


def decode(telegrams: Iterable[bytes], address: int, at_unix_s: float) -> MeterSample:
    """What the telegrams of one answer say now. The first record of each kind counts: present, of the whole meter, not of a tariff.

    Raises ValueError for a broken telegram, one of another meter, or one that says itself that its values are wrong.
    """
    values: dict[str, float] = {}
    for telegram in telegrams:
        for record in _records(telegram, address):
            known = _FIELDS.get(str(record["type"]))
            value = record["value"]
            is_now = record["function"] == _CURRENT and not record["storage_number"]
            if known is None or not is_now or record.get("tariff") or record.get("device") or "unit_enh" in record:
                continue
            if isinstance(value, int | float | Decimal):
                values.setdefault(known[0], float(value) * known[1])
    return MeterSample(
        at_unix_s,
        power_w=values.get("power_w"),
        flow_l_per_h=values.get("flow_l_per_h"),
        supply_c=values.get("supply_c"),
        return_c=values.get("return_c"),
        energy_wh=values.get("energy_wh"),
    )


def has_more(telegram: bytes) -> bool:
    """Whether the meter says that the rest of its answer is in a further telegram."""
    return bool(_load(telegram).more_records_follow)


def _load(telegram: bytes) -> meterbus.TelegramLong:
    try:
        return meterbus.TelegramLong.parse(list(telegram))
    except (MBusFrameDecodeError, MBusFrameCRCError, MbusFrameLengthError, IndexError, KeyError, ValueError) as error:
        raise ValueError(f"its telegram is broken ({type(error).__name__}): disturbance on the bus") from error


def _records(telegram: bytes, address: int) -> list[dict[str, object]]:
    loaded = _load(telegram)
    sender = loaded.header.aField.parts[0]
    if sender != address:
        raise ValueError(f"meter {sender} answers instead of meter {address}")
    status = loaded.body.bodyHeader.status_field.parts[0]
    if status & PERMANENT_ERROR or status & TEMPORARY_ERROR or status & APPLICATION_BITS:
        raise ValueError(f"the meter reports a fault of its own (status 0x{status:02x}): read its display")
    return [facts for facts in map(_facts, loaded.records) if facts is not None]


def _facts(record: meterbus.TelegramVariableDataRecord) -> dict[str, object] | None:
    """One record as the decoder explains it; None for one that it does not know. The telegram's sum is right: the rest counts."""
    try:
        facts: dict[str, object] = record.interpreted
    except (IndexError, KeyError, ValueError, ArithmeticError, TypeError):
        return None
    return facts


class MbusReader:
    """Reads one meter over a line."""

    def __init__(self, meter: Meter, line: Line) -> None:
        """Asks nothing yet."""
        self._meter = meter
        self._line = line

    async def read(self, at_unix_s: float) -> MeterSample:
        """Ask for everything. Raises LineError, its text for people."""
        meter = self._meter
        await self._line.ask(short_frame(RESET, meter.device_id), take_acknowledge(), meter.timeout_s)
        telegrams: list[bytes] = []
        control = ASK_ON
        try:
            while True:
                telegrams.append(await self._line.ask(short_frame(control, meter.device_id), take_telegram(), meter.timeout_s))
                if len(telegrams) == MAX_TELEGRAMS or not has_more(telegrams[-1]):
                    return decode(telegrams, meter.device_id, at_unix_s)
                control = ASK_OFF if control == ASK_ON else ASK_ON
        except ValueError as error:
            raise LineError(str(error)) from error
