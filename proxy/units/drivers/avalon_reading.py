"""What an Avalon's words prove about it. Pure.

The words are `avalon_parse`'s; talking is `avalon`'s. Nothing here believes a word alone where a second one can contradict it.
"""

from proxy import config
from proxy.units.drivers.avalon_parse import Telemetry, Version
from proxy.units.drivers.base import Reading
from proxy.units.drivers.words import asleep_below_w, level_of_power, level_of_setting

SOFT_OFF_BOOTING = 6


def read_state(
    told: Telemetry, version: Version | None, model: config.Model, at_s: float, pools_alive: int | None = None
) -> Reading:
    """Combine the machine's words into one Reading. `version` fills in what telemetry does not say."""
    hashing = _is_hashing(told)
    asleep = _is_asleep(told, model, hashing)
    power_w = told.wall_power_w if told.wall_power_w is not None else told.board_power_w
    return Reading(
        at_s=at_s,
        serial=told.serial or (version.serial if version else None),
        model_name=version.product if version else None,
        firmware=told.firmware or (version.firmware if version else None),
        level_observed=_level(told, model, asleep, hashing, power_w),
        asleep=asleep,
        stopping=asleep is None and told.soft_off is not None and 0 < told.soft_off < SOFT_OFF_BOOTING,
        calibrating=told.adjusted is False and asleep is False,
        hashing=hashing,
        power_w=power_w,
        power_is_dc=told.wall_power_w is None and told.board_power_w is not None,
        hashrate_hps=told.hashrate_hps,
        hashrate_rated_hps=told.hashrate_rated_hps,
        inlet_c=told.inlet_c,
        outlet_c=told.outlet_c,
        chip_c=told.chip_c,
        elapsed_s=told.elapsed_s,
        pools_alive=pools_alive,
        error_bits=told.error_bits,
    )


def _is_hashing(told: Telemetry) -> bool | None:
    # The rated and the average hashrate stay high in sleep; only the present speed says what happens now.
    if told.hashrate_hps is not None:
        return told.hashrate_hps > 0.0
    if told.work is None:
        return None
    return told.work == "In Work"


def _is_asleep(told: Telemetry, model: config.Model, hashing: bool | None) -> bool | None:
    """True is proven by four words at once: asked (SoftOFF), idle, no hashes, hardly any power. Between is None."""
    if told.soft_off is None or told.soft_off == 0:
        # Old firmwares have no such word: then only hashes prove that it is awake.
        return False if told.soft_off == 0 or hashing else None
    if told.soft_off >= SOFT_OFF_BOOTING:
        return None
    watts = [watt for watt in (told.wall_power_w, told.board_power_w) if watt is not None]
    is_dark = bool(watts) and max(watts) <= asleep_below_w(model)
    return True if told.work == "In Idle" and told.hashrate_hps == 0.0 and is_dark else None


def _level(told: Telemetry, model: config.Model, asleep: bool | None, hashing: bool | None, power_w: float | None) -> int | None:
    if asleep is not False:
        return 0 if asleep else None
    setting = told.worklevel if model.setting_command == "worklevel" else told.workmode
    if setting is not None:
        return level_of_setting(setting, model)
    return level_of_power(power_w, model) if hashing else None
