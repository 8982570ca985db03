"""Records what a machine does without work: whether it idles, heats on or restarts, after how long, and whether it comes back.

It only looks; how work is kept from the machine is the caller's (`WorkGate`), and so is the state it is brought back to afterwards.
Nobody may rely on a machine that was watched for minutes to behave so for days: the record says how long it was watched.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

import msgspec

from proxy.units.drivers.base import Reading
from proxy.units.profile_trace import UPTIME_SLACK_S, Rest, Sample, has_moved

# A lease is so long, and renewed three times as often: whoever holds it may die, the machine gets its work back.
LEASE_S = 120.0
# What is true of this last part of the watch is what the machine does.
END_S = 60.0
# It idles below this part of what it drew with work, and is back above that one.
IDLE_PART, BACK_PART = 0.5, 0.9
# One look each: a telling trace, and easy on a controller with one core.
LOOK_S = 2.0

Behaviour = Literal["idles", "heats_on", "restarts", "silent"]


class WorkGate(Protocol):
    """Whoever can keep work from this one machine."""

    async def withhold(self, for_s: float) -> None:
        """No work from now on for so long; asked again, it goes on. Raises UnitError with the remedy."""
        ...

    async def give_back(self) -> None:
        """Work again. Raises UnitError."""
        ...


class Dry(msgspec.Struct, frozen=True, kw_only=True):
    """What it did. Times are seconds from the loss of work, and from its return; None is not seen."""

    behaviour: Behaviour
    before_w: float
    power_w: float | None  # at the end
    idle_after_s: float | None
    restarts: int
    watched_s: float
    resume_s: float | None  # None: it did not come back by itself


class Watch(msgspec.Struct, frozen=True):
    """How a machine is looked at, and for how long."""

    look: Callable[[], Awaitable[Reading | None]]
    now: Callable[[], float]
    rest: Callable[[float], Awaitable[None]]
    tell: Callable[[str], None]
    watch_s: float
    patience_s: float  # for it to come back


async def watch_without_work(watch: Watch, gate: WorkGate, before: Rest, uptime_s: float | None) -> Dry:
    """Keep work from it, look, give the work back, and look again. Raises UnitError when work cannot be kept from it.

    `before` is what it drew with work. The caller gives the work back once more, whatever happened here.
    """
    watch.tell(f"no work for {watch.watch_s:.0f} s")
    samples: list[Sample] = []
    started_s = watch.now()
    renewed_s: float | None = None
    while (gone_s := watch.now() - started_s) < watch.watch_s:
        if renewed_s is None or gone_s - renewed_s >= LEASE_S / 3:
            await gate.withhold(LEASE_S)
            renewed_s = gone_s
        samples.append(Sample(watch.now() - started_s, await watch.look()))
        await watch.rest(LOOK_S)
    await gate.give_back()
    dry = judge(samples, before, uptime_s)
    watch.tell(f"without work it {_SAID[dry.behaviour]}; it has work again")
    return msgspec.structs.replace(dry, watched_s=watch.watch_s, resume_s=await _return(watch, before))


_SAID = {"idles": "idles", "heats_on": "heats on", "restarts": "restarts", "silent": "answers no more"}


async def _return(watch: Watch, before: Rest) -> float | None:
    started_s = watch.now()
    while (since_s := watch.now() - started_s) <= watch.patience_s:
        reading = await watch.look()
        if reading is not None and reading.hashing and (reading.power_w or 0.0) >= BACK_PART * before.power_w:
            return since_s
        await watch.rest(LOOK_S)
    return None


def judge(samples: Sequence[Sample], before: Rest, uptime_s: float | None) -> Dry:
    """What the trace of a machine without work tells; `resume_s` is not in it. A machine that restarts is not one that idles."""
    end_s = samples[-1].after_s if samples else 0.0
    last = [sample.reading for sample in samples if sample.after_s >= end_s - END_S]
    powers = [reading.power_w for reading in last if reading is not None and reading.power_w is not None]
    power_w = sum(powers) / len(powers) if powers else None
    restarts = _restarts(samples, uptime_s)
    is_idle = power_w is not None and max(powers) < IDLE_PART * before.power_w
    behaviour: Behaviour = "silent" if power_w is None else "restarts" if restarts else "idles" if is_idle else "heats_on"
    return Dry(
        behaviour=behaviour,
        before_w=before.power_w,
        power_w=power_w,
        idle_after_s=_idle_after(samples, before) if behaviour == "idles" and has_moved(samples, before) else None,
        restarts=restarts,
        watched_s=end_s,
        resume_s=None,
    )


def _idle_after(samples: Sequence[Sample], before: Rest) -> float | None:
    """When its power was gone for good."""
    drawing = [each.after_s for each in samples if each.reading and (each.reading.power_w or 0.0) >= IDLE_PART * before.power_w]
    return max(drawing, default=0.0)


def _restarts(samples: Sequence[Sample], uptime_s: float | None) -> int:
    """How often its uptime fell."""
    count, last_s = 0, uptime_s
    for sample in samples:
        told_s = None if sample.reading is None else sample.reading.elapsed_s
        if told_s is None:
            continue
        if last_s is not None and told_s + UPTIME_SLACK_S < last_s:
            count += 1
        last_s = told_s
    return count
