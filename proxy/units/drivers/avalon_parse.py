"""Replies of the CGMiner API on Canaan machines, as typed facts. Pure: bytes in, facts or UnitError out.

It does not decide what the facts mean for a unit (`avalon_reading` does) and does not talk to anything. Strict on the words we
use: a number that is not a finite number of a believable size makes the whole reply nonsense, since a device that lies once
lies elsewhere too. Only temperatures may be missing one by one: firmwares print -273 for a sensor that is not there.
"""

import math
import re
from collections.abc import Iterator
from typing import Annotated

import msgspec

from proxy.errors import UnitError

GHS = 1e9
# Outside of these a number is no measurement of a miner, whatever its kind: largest known machine 0.9 PH/s and 14 kW.
MAX_HASHRATE_HPS = 1e17
MAX_POWER_W = 100_000.0
MIN_TEMPERATURE_C, MAX_TEMPERATURE_C = -60.0, 200.0
MAX_ELAPSED_S = 10 * 365 * 86_400.0

_WORD = re.compile(r"(\w+)\[([^\[\]]*)\]")
_NUMBER = re.compile(r"-?\d{1,24}(?:\.\d{1,24})?\Z", re.ASCII)
_TEXT_REPLY = re.compile(
    r"STATUS=(?P<status>[SIWEF]),When=(?P<when>\d{1,18}),Code=(?P<code>\d{1,9}),Msg=(?P<message>.*?)"
    r"(?:,Description=[^|]*)?\|(?P<body>.*)\Z",
    re.DOTALL | re.ASCII,
)
_TEXT_SUMMARY = re.compile(r"[,|]MM ID0(?::Summary)?=(?P<summary>.*?)(?=,MM |,HB|\||\Z)", re.DOTALL)
_OTHER_MODULE = re.compile(r"MM ID[1-9]")

_Count = Annotated[int, msgspec.Meta(ge=0, le=10**18)]


class Version(msgspec.Struct, frozen=True, gc=False):
    """Who the machine says it is. Empty text became None."""

    product: str | None
    firmware: str | None
    serial: str | None


class Reply(msgspec.Struct, frozen=True, gc=False):
    """One reply of either form. status is S, I, W, E or F; `summary` is the text of the machine's MM block."""

    status: str
    code: int
    message: str
    when_unix_s: int | None
    is_text: bool
    summary: str | None = None
    version: Version | None = None
    pools_alive: int | None = None

    @property
    def is_good(self) -> bool:
        """The machine said success or information."""
        return self.status in ("S", "I")


class Telemetry(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The words of the MM block that we use, in our units."""

    serial: str | None
    firmware: str | None
    elapsed_s: float | None
    work: str | None  # "In Work", "In Idle", "In Init"
    soft_off: int | None  # 0 runs, 1-5 asked to sleep, 6 booting
    workmode: int | None
    worklevel: int | None
    target_w: float | None  # MPO
    adjusted: bool | None  # False: calibration not finished
    wall_power_w: float | None
    board_power_w: float | None
    hashrate_hps: float | None
    hashrate_rated_hps: float | None
    inlet_c: float | None
    outlet_c: float | None
    chip_c: float | None
    error_bits: tuple[int, ...]


class _Status(msgspec.Struct, gc=False):
    # Names as on the wire.
    STATUS: str
    Code: _Count
    Msg: str = ""
    When: _Count | None = None


class _VersionRow(msgspec.Struct, gc=False):
    PROD: str = ""
    MODEL: str = ""
    VERSION: str = ""
    LVERSION: str = ""
    DNA: str = ""
    MAC: str = ""


class _PoolRow(msgspec.Struct, gc=False):
    Status: str = ""


class _JsonReply(msgspec.Struct):
    STATUS: Annotated[list[_Status], msgspec.Meta(min_length=1, max_length=8)]
    STATS: Annotated[list[dict[str, msgspec.Raw]], msgspec.Meta(max_length=64)] = []
    VERSION: Annotated[list[_VersionRow], msgspec.Meta(max_length=8)] = []
    POOLS: Annotated[list[_PoolRow], msgspec.Meta(max_length=64)] | None = None


_json_reply = msgspec.json.Decoder(_JsonReply)
_json_text = msgspec.json.Decoder(str)


def parse_reply(raw: bytes) -> Reply:
    """A whole reply, JSON or text, without its NUL. Raises UnitError for anything else."""
    # Bytes that are not UTF-8 occur in fields nobody needs (the name of a radio network).
    text = raw.decode("utf-8", errors="replace").strip()
    if text.startswith("{"):
        return _from_json(text)
    return _from_text(text)


def _from_json(text: str) -> Reply:
    try:
        row = _json_reply.decode(text)
        summary = _json_summary(row.STATS)
    except (msgspec.DecodeError, UnicodeError) as problem:
        raise UnitError(f"its answer is not the JSON of a miner's API: {problem}") from problem
    status = row.STATUS[0]
    if status.STATUS not in ("S", "I", "W", "E", "F"):
        raise UnitError(f"its answer has the unknown status {status.STATUS[:20]!r}")
    version = None
    if row.VERSION:
        first = row.VERSION[0]
        version = _version(first.PROD, first.MODEL, first.VERSION or first.LVERSION, first.DNA, first.MAC)
    alive = None if row.POOLS is None else sum(pool.Status == "Alive" for pool in row.POOLS)
    return Reply(status.STATUS, status.Code, status.Msg, status.When, False, summary, version, alive)


def _json_summary(rows: list[dict[str, msgspec.Raw]]) -> str | None:
    found = None
    for row in rows:
        for key, value in row.items():
            if _OTHER_MODULE.match(key):
                raise UnitError("one controller with several mining modules (MM ID1...): only one machine per address is supported")
            if found is None and key in ("MM ID0", "MM ID0:Summary"):
                found = _json_text.decode(value)
    return found


def _from_text(text: str) -> Reply:
    match = _TEXT_REPLY.match(text)
    if match is None:
        raise UnitError(f"its answer is neither JSON nor text of a miner's API: it starts with {text[:40]!r}")
    body = match["body"]
    if _OTHER_MODULE.search(body):
        raise UnitError("one controller with several mining modules (MM ID1...): only one machine per address is supported")
    summary = _TEXT_SUMMARY.search(body)
    version = None
    if body.startswith("VERSION,"):
        words = dict(field.split("=", 1) for field in body.rstrip("|").split(",") if "=" in field)
        version = _version(
            words.get("PROD", ""),
            words.get("MODEL", ""),
            words.get("VERSION", "") or words.get("LVERSION", ""),
            words.get("DNA", ""),
            words.get("MAC", ""),
        )
    alive = body.count(",Status=Alive,") if body.startswith("POOL=") else None
    return Reply(
        match["status"],
        int(match["code"]),
        match["message"],
        int(match["when"]),
        True,
        None if summary is None else summary["summary"],
        version,
        alive,
    )


def _version(product: str, model: str, firmware: str, dna: str, mac: str) -> Version:
    # Without a DNA the network card's address is the only word that differs between two machines.
    serial = dna.strip().lower() or (f"mac:{mac.strip().lower()}" if mac.strip() else "")
    return Version((product.strip() or model.strip())[:80] or None, firmware.strip()[:80] or None, serial[:80] or None)


def parse_options(message: str) -> frozenset[str] | None:
    """The options of `ascset|0,help` (`ASC 0 set info: help|voltage|workmode|...`); None when it is no such list."""
    _, found, options = message.partition("set info:")
    names = frozenset(name.strip().lower() for name in options.split("|") if name.strip())
    return names if found and "help" in names else None


def parse_telemetry(summary: str) -> Telemetry:
    """The MM block of estats. Raises UnitError when a word we use is no believable number, or stands there twice."""
    words: dict[str, str] = {}
    for match in _WORD.finditer(summary):
        key, value = match[1], match[2].strip()
        if key in _USED and words.setdefault(key, value) != value:
            raise UnitError(f"its answer says {key} twice and differently")
    if not words.keys() & {"SYSTEMSTATU", "GHSspd", "GHSmm", "PS", "SoftOFF"}:
        raise UnitError("its answer has no word about work or power: no Avalon telemetry")
    supply = _supply(words)
    wall_power_w = supply[6] if len(supply) > 6 else _number(words, "WALLPOWER", 0.0, MAX_POWER_W)
    adjusted = _integer(words, "ADJ", 0, 255)
    return Telemetry(
        serial=words.get("DNA", "").lower()[:80] or None,
        firmware=words.get("Ver", "")[:80] or None,
        elapsed_s=_number(words, "Elapsed", 0.0, MAX_ELAPSED_S),
        work=_work(words.get("SYSTEMSTATU")),
        soft_off=_integer(words, "SoftOFF", 0, 255),
        workmode=_integer(words, "WORKMODE", -128, 255),
        worklevel=_integer(words, "WORKLEVEL", -128, 255),
        target_w=_number(words, "MPO", 0.0, MAX_POWER_W),
        adjusted=None if adjusted is None else adjusted == 1,
        wall_power_w=wall_power_w,
        board_power_w=supply[4] if len(supply) > 4 else None,
        hashrate_hps=_hashrate(words, "GHSspd"),
        hashrate_rated_hps=_hashrate(words, "GHSmm"),
        inlet_c=_first(_temperature(words, key) for key in ("ITemp", "HBITemp", "Temp")),
        outlet_c=_first(_temperature(words, key) for key in ("HBOTemp", "OTemp")),
        # TMax[0] is what an idle machine prints: not measured, and no chip is at exactly 0 degrees while it matters.
        chip_c=_temperature(words, "TMax") or None,
        error_bits=(*_integers(words, "ECHU"), *_integers(words, "ECMM"), *(int(word) for word in supply[:1])),
    )


# fmt: off
_USED = frozenset((
    "Ver", "DNA", "Elapsed", "SYSTEMSTATU", "SoftOFF", "WORKMODE", "WORKLEVEL", "MPO", "ADJ", "PS", "WALLPOWER", "GHSspd", "GHSmm",
    "ITemp", "HBITemp", "Temp", "HBOTemp", "OTemp", "TMax", "ECHU", "ECMM",
))
# fmt: on


def _supply(words: dict[str, str]) -> list[float]:
    """PS[errors, control 0.01 V, boards 0.01 V, amperes, boards' watts, set 0.01 V, wall watts from A12 on]."""
    values = [_parse("PS", word) for word in words.get("PS", "").split()[:8]]
    for index in (4, 6):
        if len(values) > index and not 0.0 <= values[index] <= MAX_POWER_W:
            raise UnitError(f"its answer says PS power {values[index]:g} W, which no miner has")
    return values


def _parse(key: str, text: str) -> float:
    if not _NUMBER.match(text):
        raise UnitError(f"its answer says {key}[{text[:40]}], which is no number")
    value = float(text)
    if not math.isfinite(value):
        raise UnitError(f"its answer says {key}[{text[:40]}], which is no number")
    return value


def _number(words: dict[str, str], key: str, lowest: float, highest: float) -> float | None:
    text = words.get(key)
    if not text:
        return None
    value = _parse(key, text)
    if not lowest <= value <= highest:
        raise UnitError(f"its answer says {key}[{text[:40]}], outside of {lowest:g} to {highest:g}")
    return value


def _integer(words: dict[str, str], key: str, lowest: int, highest: int) -> int | None:
    value = _number(words, key, lowest, highest)
    if value is None:
        return None
    if value != int(value):
        raise UnitError(f"its answer says {key}[{value}], which is no whole number")
    return int(value)


def _integers(words: dict[str, str], key: str) -> tuple[int, ...]:
    return tuple(int(_parse(key, word)) for word in words.get(key, "").split()[:8])


def _hashrate(words: dict[str, str], key: str) -> float | None:
    value = _number(words, key, 0.0, MAX_HASHRATE_HPS / GHS)
    return None if value is None else value * GHS


def _temperature(words: dict[str, str], key: str) -> float | None:
    text = words.get(key)
    if not text:
        return None
    value = _parse(key, text)
    return value if MIN_TEMPERATURE_C <= value <= MAX_TEMPERATURE_C else None


def _first(values: Iterator[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _work(text: str | None) -> str | None:
    """`Work: In Idle, Hash Board: 1` -> `In Idle`."""
    if text is None:
        return None
    match = re.search(r"Work:\s*(In \w+)", text)
    return None if match is None else match[1]
