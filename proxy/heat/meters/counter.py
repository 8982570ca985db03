"""Power against the energy counter of the same meter: both come from one calculator, and when they part one of them lies.

Pure. The counter moves in steps (1 kWh, 100 kWh), so it is compared over windows long enough that a step does not matter.
It cannot see a lie that both numbers share.
"""

import msgspec

# A step or two of the counter must not matter in a window.
STEPS_IN_WINDOW = 20
MIN_WINDOW_S = 600.0
# EN 1434 meters keep power and energy within some per cent of each other.
TOLERANCE = 0.10
# Before the counter was seen to move its step is unknown; no meter has one that its plant needs longer than this to fill.
LARGEST_STEP_S = 2 * 3_600.0
JOULES_PER_WH = 3_600.0


class CounterWindow(msgspec.Struct):
    """Since when power is added up, and what the counter said then. `step_wh` is the smallest move seen."""

    begun_unix_s: float = 0.0
    begun_wh: float | None = None
    last_unix_s: float = 0.0
    last_wh: float = 0.0
    last_w: float = 0.0
    integral_wh: float = 0.0
    step_wh: float | None = None
    disagreement: str | None = None


def follow(window: CounterWindow, at_unix_s: float, power_w: float, energy_wh: float, capacity_w: float, gap_s: float) -> None:
    """Take one believed pair of power and counter; `window.disagreement` says afterwards whether they part, and how.

    A gap longer than `gap_s`, or a counter that went back, begins a new window.
    """
    if window.begun_wh is None or at_unix_s - window.last_unix_s > gap_s or energy_wh < window.last_wh:
        _begin(window, at_unix_s, power_w, energy_wh)
        return
    elapsed_s = at_unix_s - window.last_unix_s
    window.integral_wh += (window.last_w + power_w) / 2 * elapsed_s / JOULES_PER_WH
    moved_wh = energy_wh - window.last_wh
    window.last_unix_s, window.last_wh, window.last_w = at_unix_s, energy_wh, power_w
    if moved_wh > 0:
        window.step_wh = moved_wh if window.step_wh is None else min(window.step_wh, moved_wh)
    counted_wh = energy_wh - window.begun_wh
    step_wh = window.step_wh
    if step_wh is None:
        if window.integral_wh > capacity_w * LARGEST_STEP_S / JOULES_PER_WH:
            window.disagreement = "power is shown, but the energy counter stands still"
        return
    # A window ends on a step: there the counter is exact.
    enough = max(counted_wh, window.integral_wh) >= STEPS_IN_WINDOW * step_wh and at_unix_s - window.begun_unix_s >= MIN_WINDOW_S
    if not enough or (moved_wh == 0 and window.integral_wh < 2 * counted_wh):
        return
    window.disagreement = _compare(window, counted_wh, step_wh, at_unix_s)
    _begin(window, at_unix_s, power_w, energy_wh)


def interrupt(window: CounterWindow) -> None:
    """A reading in between was not believed: its power is missing, so the window begins again."""
    window.begun_wh = None


def _begin(window: CounterWindow, at_unix_s: float, power_w: float, energy_wh: float) -> None:
    window.begun_unix_s = window.last_unix_s = at_unix_s
    window.begun_wh = window.last_wh = energy_wh
    window.last_w = power_w
    window.integral_wh = 0.0


def _compare(window: CounterWindow, counted_wh: float, step_wh: float, at_unix_s: float) -> str | None:
    if abs(counted_wh - window.integral_wh) <= TOLERANCE * max(counted_wh, window.integral_wh) + 2 * step_wh:
        return None
    elapsed_h = (at_unix_s - window.begun_unix_s) / 3_600.0
    return (
        f"power averaged {window.integral_wh / elapsed_h / 1000:,.1f} kW, "
        f"but the energy counter moved by {counted_wh / elapsed_h / 1000:,.1f} kW"
    )
