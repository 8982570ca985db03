"""How worn each unit is and how much the fleet is being moved: what dispatch spreads, and what makes moves dearer.

Pure. Dwell times and starts a day are the units' own hard limits (units/wear); this is the soft side: among equal units the rested
one is taken, and a day with many level changes makes the next ones cost more, so that the heat gets a little coarser instead. A
unit that was moved too often in 24 hours rests: it comes down as always, but goes up again only where the heat is far off.
"""

import math
from collections import deque
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
# A tenth of the units at rest: the others can no longer make up for them exactly.
TOLD_PART = 0.1
# No unit is moved twice within this; two times that are nearer are one that went through a restart.
SAME_S = 1.0


class State(msgspec.Struct):
    """Hours at full power and starts seen, by unit; and level changes a unit and day, filtered.

    `most_per_day`: level changes after which a unit rests. `moves_s`: when each unit was moved, at most that many; `full`: units
    that may have used them up.
    """

    hours: dict[str, float] = {}
    starts: dict[str, int] = {}
    changes_per_day: float = 0.0
    known_s: float = 0.0
    most_per_day: int = 48
    moves_s: dict[str, deque[float]] = {}
    full: set[str] = set()


class Budget(msgspec.Struct, frozen=True, gc=False):
    """Factors on the cost of a change and on the dead band; 1 within budget."""

    dearer: float
    wider: float


def advance(state: State, images: Sequence[UnitImage], drawn_w: Sequence[float], changes: int, dt_s: float) -> None:
    """Count a cycle: running hours by power, the level changes commanded in it, and those that went out to each unit."""
    if dt_s <= 0 or not images:
        return
    hours = dt_s / 3_600.0
    for image, power_w in zip(images, drawn_w, strict=True):
        moves = state.moves_s.get(image.id)
        if image.changed_at_s is not None and (moves is None or image.changed_at_s > moves[-1] + SAME_S):
            moved(state, image.id, image.changed_at_s)
        if power_w > 0:
            state.hours[image.id] = state.hours.get(image.id, 0.0) + hours * power_w / image.levels[-1].power_w
    state.known_s += dt_s
    rate = changes / len(images) * DAY_S / dt_s
    state.changes_per_day += (rate - state.changes_per_day) * gain(dt_s, BUDGET_TAU_S)


def started(state: State, unit_id: str) -> None:
    """A unit was woken."""
    state.starts[unit_id] = state.starts.get(unit_id, 0) + 1


def moved(state: State, unit_id: str, now_s: float) -> None:
    """A unit went to another level, for whatever reason."""
    moves = state.moves_s.get(unit_id)
    if moves is None:
        moves = state.moves_s[unit_id] = deque(maxlen=state.most_per_day)
    moves.append(now_s)
    if len(moves) == state.most_per_day:
        state.full.add(unit_id)


def resting(state: State, now_s: float) -> frozenset[str]:
    """Units that were moved `most_per_day` times in the last 24 hours. One more move each time the oldest is a day old."""
    state.full = {unit_id for unit_id in state.full if state.moves_s[unit_id][0] > now_s - DAY_S}
    return frozenset(state.full)


def alarm(state: State, units: int, now_s: float) -> str | None:
    """What to tell people where a good part of the units rests; None otherwise."""
    count = len(resting(state, now_s))
    if count < max(1.0, TOLD_PART * units):
        return None
    return (
        f"{count} of {units} units were moved {state.most_per_day} times in 24 h and rest: heat is kept within some percent only; "
        "find out who moves the demand so often, or raise heat.max_changes_per_day"
    )


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
