"""What is common to the words of all machines: which numbers can be true, decoding with one kind of error, levels by setting.

Pure. What the words of one vendor prove is its driver's affair.
"""

import re
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from proxy import config
from proxy.errors import UnitError

T = TypeVar("T")

# Outside of these a number is no measurement of a miner: largest known machine 0.9 PH/s and 14 kW.
Watts = Annotated[float, Meta(ge=0, le=100_000)]
Terahashes = Annotated[float, Meta(ge=0, le=100_000)]  # per second
Gigahashes = Annotated[float, Meta(ge=0, le=100_000_000)]  # per second
Seconds = Annotated[float, Meta(ge=0, le=315_360_000)]
Megahertz = Annotated[float, Meta(ge=0, le=10_000)]
TERA, GIGA = 1e12, 1e9
MIN_TEMPERATURE_C, MAX_TEMPERATURE_C = -60.0, 200.0
# A machine that tells its power but not its setting is at the level whose power is nearest, if it is this near.
NEAREST_LEVEL_TOLERANCE = 0.10
# Of the way from asleep to the lowest level: supplies and controllers draw up to 150 W for minutes after the boards went dark.
ASLEEP_POWER_PART = 0.10
_CALIBRATING = re.compile(r"cali(ng|brat)|tuning|not ready|initializ", re.IGNORECASE)


def decode(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw, what: str) -> T:
    """The typed answer to `what`. Raises UnitError for anything that is not it: a device that lies once lies elsewhere too."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError) as problem:
        raise UnitError(f"its answer to {what} is not one of this family: {problem}") from problem


def is_calibrating(text: str) -> bool:
    """Whether a refusal means `not now, it tunes itself`."""
    return _CALIBRATING.search(text) is not None


def temperature(value: float | None) -> float | None:
    """A temperature that can be true, else None: firmwares print -273 or 0 K for a sensor that is not there."""
    return value if value is not None and MIN_TEMPERATURE_C <= value <= MAX_TEMPERATURE_C else None


def asleep_below_w(model: config.Model) -> float:
    """Wall power below which a machine that was told to sleep counts as off."""
    return model.sleep_power_w + ASLEEP_POWER_PART * (model.levels[0].power_w - model.sleep_power_w)


def is_dark(power_w: float | None, model: config.Model) -> bool:
    """Hardly any power, or it does not tell its power."""
    return power_w is None or power_w <= asleep_below_w(model)


def level_of_setting(setting: float, model: config.Model) -> int | None:
    """The level whose setting this is. Two levels with one setting, or a setting that the model does not list, say nothing."""
    matches = [index for index, level in enumerate(model.levels, start=1) if level.setting == setting]
    return matches[0] if len(matches) == 1 else None


def level_of_power(power_w: float | None, model: config.Model) -> int | None:
    """The level whose power is nearest, if it is near; for machines that do not tell their setting."""
    if power_w is None:
        return None
    nearest = min(range(len(model.levels)), key=lambda index: abs(model.levels[index].power_w - power_w))
    rated_w = model.levels[nearest].power_w
    return nearest + 1 if abs(rated_w - power_w) <= NEAREST_LEVEL_TOLERANCE * rated_w else None
