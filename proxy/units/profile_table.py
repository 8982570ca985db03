"""What was recorded of a machine as a `[models.NAME]` table that a site file takes as it is. Pure: text out, no file.

A machine's own words go into comments only, without anything that could end one.
"""

import math
import re
from collections.abc import Iterable

from proxy.units.profile import Profile, level_name
from proxy.units.profile_trace import Change
from proxy.units.profile_work import Dry

# Machines of one kind differ, and water is not always as warm: what took this long here may take so much longer there.
ALLOWANCE = 1.5
LEAST_S, MOST_S = 30.0, 3_600.0
USUAL_SLEEP_W = 15.0  # what a model has that names none
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def table_of(profile: Profile, name: str, recorded_at: str, account: dict[str, str]) -> str:
    """The TOML of one model. `account` holds api_user and api_password_file where they are needed."""
    plan, found = profile.plan, profile.found
    lines = [
        f"# Recorded {recorded_at} on {_plain(found.model_name)}, firmware {_plain(found.firmware)}, serial {_plain(found.serial)}."
    ]
    if found.power_is_dc:
        lines.append("# Watts are those of the boards, as it tells them; the wall's are some 9 % more: correct them by a meter.")
    if profile.calibrated:
        lines.append("# It tuned itself meanwhile: times are longer than they will be.")
    lines += [f"# {_told(change, profile)}" for change in _all(profile)]
    table = f"models.{name}" if _BARE_KEY.fullmatch(name) else f"models.{_text(name)}"
    lines.append(f"[{table}]")
    lines.append(f'driver = "{plan.driver}"')
    if plan.driver == "avalon":
        lines += [f'setting_command = "{plan.setting_command}"', f'wake = "{plan.wake}"']
    if plan.change_reboots or any(change.rebooted for change in profile.changes):
        lines.append("change_reboots = true")
    lines += [f"{key} = {value:g}" for key, value in times_of(profile).items()]
    if profile.sleep is not None:
        lines.append(f"sleep_power_w = {_watts(profile.sleep.after.power_w)}")
    elif profile.levels[0].power_w <= USUAL_SLEEP_W:
        lines.append("sleep_power_w = 0  # not recorded; the usual value is above the lowest level")
    lines += [f"{key} = {_text(value)}" for key, value in account.items()]
    lines.append("levels = [")
    for setting, rest in zip(plan.settings, profile.levels, strict=True):
        voltage = "" if setting.core_voltage_mv is None else f", core_voltage_mv = {setting.core_voltage_mv}"
        called, power, rate = level_name(setting), _watts(rest.power_w), f"{rest.hashrate_hps or 0.0:.4g}"
        numbers = f"power_w = {power}, hashrate_hps = {rate}, setting = {setting.setting}{voltage}"
        lines.append(f'    {{ name = "{called}", {numbers} }},')
    lines.append("]")
    if profile.without_work is not None:
        lines += _without_work(profile.without_work, table)
    return "\n".join(lines) + "\n"


def _without_work(dry: Dry, table: str) -> list[str]:
    """A table below the model's own. Permission to withhold work is not in it: that is the operator's to give."""
    watched = f"watched for {dry.watched_s:.0f} s, {dry.restarts} restarts, {dry.before_w:.0f} W with work"
    lines = ["", f"# {watched}.", f"[{table}.without_work]", f'behaviour = "{dry.behaviour}"']
    lines += [
        f"{key} = {value:g}"
        for key, value in {
            "power_w": None if dry.power_w is None else round(dry.power_w, 1),
            "idle_after_s": None if dry.idle_after_s is None else round(dry.idle_after_s, 1),
            "resume_s": None if dry.resume_s is None else round(dry.resume_s, 1),
        }.items()
        if value is not None
    ]
    return lines


def times_of(profile: Profile) -> dict[str, float]:
    """The model's times: what was seen, and for those that decide on faults with an allowance. Unknown ones are left out."""
    down, up = profile.sleep, profile.wake
    ups = (up,) if up is not None else (change for change in profile.changes if change.after.power_w > change.before.power_w)
    downs = (down,) if down is not None else (change for change in profile.changes if change.after.power_w < change.before.power_w)
    times = {
        "settle_s": _allowed(change.settled_s for change in (*profile.changes, *([down] if down else []))),
        "wake_s": _allowed([up.hashing_s] if up is not None else []),
        "change_delay_s": _longest(change.moves_s for change in profile.changes),
        "ramp_up_s": _longest(change.full_ramp_s for change in ups),
        "ramp_down_s": _longest(change.full_ramp_s for change in downs),
    }
    return {key: value for key, value in times.items() if value is not None}


def _all(profile: Profile) -> list[Change]:
    return [*profile.changes, *(change for change in (profile.sleep, profile.wake) if change is not None)]


def _longest(seen: Iterable[float | None]) -> float | None:
    longest = max((each for each in seen if each is not None), default=None)
    return None if longest is None else min(MOST_S, round(longest, 1))


def _allowed(seen: Iterable[float | None]) -> float | None:
    longest = max((each for each in seen if each is not None), default=None)
    return None if longest is None else min(MOST_S, max(LEAST_S, 10.0 * math.ceil(ALLOWANCE * longest / 10.0)))


def _told(change: Change, profile: Profile) -> str:
    where = "sleep" if change.to_level == 0 else level_name(profile.plan.settings[change.to_level - 1])
    shown = "never showed by name" if change.shows_s is None else f"showed after {change.shows_s:.0f} s"
    moved = "" if change.moves_s is None else f", power moved after {change.moves_s:.0f} s"
    rebooted = ", rebooted" if change.rebooted else ""
    watts = f"{change.before.power_w:.0f} W -> {change.after.power_w:.0f} W"
    return f"to {where}: {watts}, {shown}{moved}, settled after {change.settled_s:.0f} s{rebooted}"


def _watts(power_w: float) -> str:
    """Whole watts are finer than any meter of a large machine; a small one needs tenths."""
    return f"{power_w:.0f}" if power_w >= 200.0 else f"{power_w:.1f}"


def _plain(words: str | None) -> str:
    """A machine's words for a comment: printable ASCII, short."""
    return "".join(letter for letter in words or "unknown" if " " <= letter <= "~")[:80] or "unknown"


def _text(value: str) -> str:
    """A TOML basic string."""
    escaped = "".join(f"\\u{ord(each):04x}" if each in '"\\' or each < " " or each == "\x7f" else each for each in value)
    return f'"{escaped}"'
