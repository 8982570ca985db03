"""Telemetry against shares: which unit's word is not believed, what is believed instead, and which silent unit is at work.

A share cannot be found without power, so shares that go on prove a machine whose API is dead; and a machine that says it runs
while its shares say far less is hung or lies. It is named, and its heat is made by others. Of many at once the cause is ours or the
pool's: they are named together and believed all the same. Pure; it commands nothing.
"""

from collections.abc import Sequence

import msgspec

from proxy.heat.alarms import Alarms
from proxy.units.unit import ProvenPower, UnitImage, UnitState

# Apart by more than this, and not in each other's interval: machines of a kind and their models differ by less.
FAR = 0.7
# It must hold for so long, over a window of so many seconds: one look in twenty is outside of a 95 % interval by chance.
CONFIRM_S = 300.0
LEAST_WINDOW_S = 300.0
# Evidence of minutes is not judged anew in each cycle.
JUDGE_S = 30.0
# A wider interval than this part of the highest level's power says nothing to act on.
WIDEST = 0.6
# More of the fleet than this does not begin to lie at once (one unit always may).
COMMON_CAUSE = 0.1
# A silent unit is at work while its shares go on: a gap of so many intervals comes by chance once in a million shares.
GAP_INTERVALS = 14.0
LEAST_GAP_S = 60.0
# Shares are counted that long after they were found, at most.
AFTER_S = 15.0
# And while they prove at least this part of what it was told: of a few shares the interval reaches far down.
AT_WORK = 0.25
# Units named in the alarm; more are counted.
NAMED = 4
ALARM = "units-unproven"


class Doubt(msgspec.Struct, frozen=True, gc=False):
    """One unit whose word is not believed. `is_short`: its shares prove less than its level makes, so its heat is missing."""

    unit: str
    says_w: float
    low_w: float
    high_w: float
    believed_w: float
    is_short: bool

    @property
    def text(self) -> str:
        """For people."""
        return f"says {self.says_w / 1000:.1f} kW, its shares prove {self.low_w / 1000:.1f} to {self.high_w / 1000:.1f} kW"


class State(msgspec.Struct):
    """Since when each unit's word and shares are apart, the doubts in force, and what began (a Doubt) or ended (a name)."""

    since_s: dict[str, float] = {}
    doubts: dict[str, Doubt] = {}
    is_common: bool = False
    judged_s: float | None = None
    held: dict[int, Doubt] = {}  # by position, of the last judgement
    changed: list[Doubt | str] = []

    def news(self) -> list[Doubt | str]:
        """Doubts that began and units whose doubt ended, since the last call."""
        changed, self.changed = self.changed, []
        return changed


def judge(
    state: State, images: Sequence[UnitImage], fresh: Sequence[float | None], told_w: Sequence[float], now_s: float
) -> dict[int, Doubt]:
    """The units whose word is not believed now, by position. `told_w`: what each draws when it does what it was told."""
    if state.judged_s is not None and 0.0 <= now_s - state.judged_s < JUDGE_S:
        return {k: known for k, known in state.held.items() if fresh[k] is not None} if state.held else state.held
    state.judged_s = now_s
    found: dict[int, Doubt] = {}
    since_s: dict[str, float] = {}
    for k, (image, says_w) in enumerate(zip(images, fresh, strict=True)):
        proven = image.proven
        if proven is None or says_w is None or proven.low_w <= says_w <= proven.high_w:
            continue
        if not _can_judge(image, proven):
            if image.id in state.since_s:  # on its way: neither confirmed nor cleared
                since_s[image.id] = state.since_s[image.id]
        elif proven.high_w < FAR * says_w or proven.low_w * FAR > says_w:
            since_s[image.id] = state.since_s.get(image.id, now_s)
            if now_s - since_s[image.id] >= CONFIRM_S:
                found[k] = _doubt(image, proven, says_w, told_w[k])
    state.since_s = since_s
    if found or state.doubts:
        _note(state, {doubt.unit: doubt for doubt in found.values()})
    state.is_common = len(found) > max(1.0, COMMON_CAUSE * len(images))
    state.held = {} if state.is_common else found
    return state.held


def is_at_work(image: UnitImage, told_w: float, silent_s: float) -> bool:
    """Whether the shares of a unit that has not answered for `silent_s` say that it goes on.

    Only shares found since then do: one that died found its last before it fell silent. Missing shares prove nothing: its network
    may be dead.
    """
    proven = image.proven
    if proven is not None and proven.quiet_s + AFTER_S > silent_s:
        return False
    if proven is None or proven.interval_s is None or proven.low_w < AT_WORK * max(told_w, image.levels[1].power_w):
        return False
    return proven.quiet_s <= max(LEAST_GAP_S, GAP_INTERVALS * proven.interval_s)


def at_work_w(image: UnitImage, expected_w: float) -> float:
    """What such a unit draws: as its level says where its shares agree with that, else what they prove."""
    proven = image.proven
    if proven is None or proven.low_w <= expected_w <= proven.high_w:
        return expected_w
    return min(proven.power_w, image.levels[-1].power_w)


def tell(state: State, alarms: Alarms, now_s: float) -> None:
    """Raise, keep or clear the alarm."""
    doubts = sorted(state.doubts.values(), key=lambda doubt: doubt.unit)
    text = None
    if doubts:
        named = "; ".join(f"{doubt.unit} {doubt.text}" for doubt in doubts[:NAMED])
        more = f"; and {len(doubts) - NAMED} more" if len(doubts) > NAMED else ""
        remedy = (
            "so many at once have one cause, and are still believed: check the pools, the ledger and the hashrates in [models]"
            if state.is_common
            else "what is missing is made by others: restart or inspect them"
        )
        text = f"power without shares, or shares without power: {named}{more}. {remedy}"
    alarms.set(ALARM, text, now_s, severity=2)


def _can_judge(image: UnitImage, proven: ProvenPower) -> bool:
    """Settled where it was told to be, watched for long enough, and narrowly enough known."""
    is_settled = image.state is UnitState.RUN and image.level_commanded in (None, image.level_observed)
    is_narrow = proven.high_w - proven.low_w <= WIDEST * image.levels[-1].power_w
    return is_settled and is_narrow and proven.seconds >= LEAST_WINDOW_S


def _doubt(image: UnitImage, proven: ProvenPower, says_w: float, told_w: float) -> Doubt:
    believed_w = min(proven.power_w, max(says_w, image.levels[-1].power_w))
    return Doubt(image.id, says_w, proven.low_w, proven.high_w, believed_w, proven.high_w < FAR * told_w)


def _note(state: State, doubts: dict[str, Doubt]) -> None:
    for unit, doubt in doubts.items():
        if unit not in state.doubts:
            state.changed.append(doubt)
    state.changed.extend(unit for unit in state.doubts if unit not in doubts)
    state.doubts = doubts
