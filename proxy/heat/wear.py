"""How worn each unit is and how much the fleet is being moved: what dispatch spreads, and what makes moves dearer.

Pure. Dwell times and starts a day are the units' own hard limits (units/wear); this is the soft side: among equal units the rested
one is taken, and a day with many level changes makes the next ones cost more, so that the heat gets a little coarser instead.
"""

import math
from collections.abc import Sequence

import msgspec

from proxy.heat.model import gain
from proxy.units.unit import UnitImage

# A start wears a power supply like so many hours at full power.
HOURS_PER_START = 20.0
# A unit that was moved lately waits its turn: for so long this outweighs anything else.
REST_H = 6.0
RECENT_WEIGHT = 1_000.0
# Level changes a unit and day that are planned for, and the time over which they are counted.
BUDGET_PER_DAY = 6.0
BUDGET_TAU_S = 10_800.0
# What overspending may do: moves cost this much more, and the dead band grows up to this much.
MAX_DEARER = 8.0
MAX_WIDER = 1.5
DAY_S = 86_400.0


class State(msgspec.Struct):
    """Hours at full power and starts seen, by unit; and level changes a unit and day, filtered."""

    hours: dict[str, float] = {}
    starts: dict[str, int] = {}
    changes_per_day: float = 0.0
    known_s: float = 0.0


class Budget(msgspec.Struct, frozen=True, gc=False):
    """Factors on the cost of a change and on the dead band; 1 within budget."""

    dearer: float
    wider: float


def advance(state: State, images: Sequence[UnitImage], drawn_w: Sequence[float], changes: int, dt_s: float) -> None:
    """Count a cycle: running hours by power, and the level changes commanded in it."""
    if dt_s <= 0 or not images:
        return
    hours = dt_s / 3_600.0
    for image, power_w in zip(images, drawn_w, strict=True):
        if power_w > 0:
            state.hours[image.id] = state.hours.get(image.id, 0.0) + hours * power_w / image.levels[-1].power_w
    state.known_s += dt_s
    rate = changes / len(images) * DAY_S / dt_s
    state.changes_per_day += (rate - state.changes_per_day) * gain(dt_s, BUDGET_TAU_S)


def started(state: State, unit_id: str) -> None:
    """A unit was woken."""
    state.starts[unit_id] = state.starts.get(unit_id, 0) + 1


def of_unit(state: State, image: UnitImage, now_s: float) -> float:
    """Order among equals, least worn first: how recently it was moved, then starts and hours."""
    rest_h = math.inf if image.changed_at_s is None else max(0.0, now_s - image.changed_at_s) / 3_600.0
    recent = max(0.0, 1.0 - rest_h / REST_H)
    starts = max(image.starts_today, state.starts.get(image.id, 0))
    return RECENT_WEIGHT * recent + HOURS_PER_START * starts + state.hours.get(image.id, 0.0)


def budget(state: State) -> Budget:
    """What the fleet's changes so far mean for the next ones."""
    spent = state.changes_per_day / BUDGET_PER_DAY
    return Budget(dearer=min(MAX_DEARER, max(1.0, spent * spent)), wider=min(MAX_WIDER, max(1.0, spent)))
