"""The frozen picture of one unit that a heat cycle works on, made from its life.

One place for the fleet and for whoever stands in for it (the twin). It asks nothing of the machine and changes only what has
expired.
"""

from proxy.units.lifecycle import UnitLife
from proxy.units.unit import ProvenPower, UnitImage


def image_of(life: UnitLife, now_s: float, is_open: bool, proven: ProvenPower | None = None) -> UnitImage:
    """The unit now; what has expired is None. `is_open`: ordinary commands are taken at all. `proven`: fresh, or None."""
    life.expire(now_s)
    reading = life.reading if life.is_fresh(now_s) else None
    is_off = life.is_off()
    return UnitImage(
        id=life.unit.id,
        loop=life.unit.loop,
        model=life.unit.model,
        state=life.state,
        levels=life.levels,
        level_commanded=life.level_commanded,
        level_observed=life.level_observed if reading else None,
        power_w=reading.power_w if reading else None,
        hashrate_reported_hps=reading.hashrate_hps if reading else None,
        inlet_c=reading.inlet_c if reading else None,
        outlet_c=reading.outlet_c if reading else None,
        chip_c=reading.chip_c if reading else None,
        changed_at_s=life.wear.changed_at_s,
        may_command=is_open and life.may_command(now_s),
        earliest_change_s=life.wear.earliest_change_s(is_off),
        starts_today=life.wear.starts_today(now_s),
        max_starts_per_day=life.model.max_starts_per_day,
        max_outlet_c=life.model.max_outlet_c,
        max_chip_c=life.model.max_chip_c,
        fault=f"{life.fault or 'what it does is unknown'}. Its work is withheld until it obeys" if life.is_starved else life.fault,
        earliest_sleep_s=life.wear.earliest_sleep_s(is_off),
        proven=proven,
        answers=life.answers,
    )
