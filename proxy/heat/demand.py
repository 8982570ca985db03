"""The records that cross the border of heat control, and the one judgement whether a demand may rule.

Every transport turns what it receives into a HeatDemand and asks `DemandBook.judge`, so no transport can forget a check. Not here:
decoding (signals/), which demand rules now (arbitrate), and what the plant can deliver (dispatch).
"""

import math

import msgspec

# A demand of more than this many times the installed capacity is a mistake of units (W for kW), not a cold day.
ABSURD_FACTOR = 2.0
# With no unit configured there is no capacity to compare with; no district heating plant is larger than this.
ABSURD_POWER_W = 1e9
# Senders remembered for replay protection. A site has one utility, perhaps two gateways; more is somebody making up names.
MAX_SOURCES = 32
MAX_SEQUENCE = 2**63 - 1
# Supply temperatures that a water network without steam can have.
LOWEST_SUPPLY_C, HIGHEST_SUPPLY_C = 20.0, 120.0


class HeatDemand(msgspec.Struct, frozen=True, gc=False):
    """What a utility asks inside a window of wall-clock time: `power_w` of heat (thermal), a supply temperature, or both.

    `power_w` is None only where `supply_c` is given: then the heat follows from the supply temperature. With both, heat.mode says
    which one rules. `ramp_w_per_min` (thermal) slows the way there, never beyond the site's own ramp.

    `epoch` rises when a sender loses count, `sequence` rises with every demand of an epoch. `content` identifies what was really
    sent (relative times resolve differently each time they are read), "" where the transport has nothing better than the fields.
    """

    source: str
    epoch: int
    sequence: int
    issued_unix_s: float
    valid_from_unix_s: float
    valid_until_unix_s: float
    power_w: float | None
    content: str = ""
    supply_c: float | None = None
    ramp_w_per_min: float | None = None

    @property
    def order(self) -> tuple[int, int]:
        """What must rise from one demand of a source to its next."""
        return self.epoch, self.sequence

    def is_valid_at(self, now_unix_s: float) -> bool:
        """Whether the window covers this moment."""
        return self.valid_from_unix_s <= now_unix_s < self.valid_until_unix_s


class DemandAccepted(msgspec.Struct, frozen=True, gc=False):
    """The demand was taken. `state` is `live`, or `pending` while its window lies ahead."""

    source: str
    epoch: int
    sequence: int
    power_w: float | None
    valid_from_unix_s: float
    valid_until_unix_s: float
    state: str
    supply_c: float | None = None


class DemandRefused(msgspec.Struct, frozen=True, gc=False):
    """The demand was not taken and nothing changed. `code` has the meaning of the HTTP status of that number.

    `last_epoch` and `last_sequence` are the newest this source had accepted, so that a sender can carry on from there.
    """

    code: int
    reason: str
    remedy: str
    last_epoch: int | None = None
    last_sequence: int | None = None


class MeterReading(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One reading of a heat meter. Only the time and the heat are needed; what the meter does not know is None."""

    at_unix_s: float
    heat_w: float
    supply_c: float | None = None
    return_c: float | None = None
    flow_kg_s: float | None = None
    energy_wh: float | None = None


class MeterAccepted(msgspec.Struct, frozen=True, gc=False):
    """The reading was believed."""

    at_unix_s: float
    heat_w: float


class MeterRefused(msgspec.Struct, frozen=True, gc=False):
    """The reading was not believed; the last good one stays until it is stale. `code` as in DemandRefused."""

    code: int
    reason: str
    remedy: str


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What a demand must fit. `capacity_w` is the installed heat (thermal); `max_step` is a part of it."""

    capacity_w: float
    max_validity_s: float
    max_clock_skew_s: float
    max_step: float


class _Last(msgspec.Struct, frozen=True, gc=False):
    demand: HeatDemand
    answer: DemandAccepted


def is_number(value: float | None) -> bool:
    """Whether a value is there and finite. NaN is what a broken sensor says, not a number."""
    return value is not None and math.isfinite(value)


def _kw(power_w: float) -> str:
    return f"{power_w / 1000:,.1f} kW"


def check_finite(demand: HeatDemand) -> DemandRefused | None:
    """Refuse what is no number at all; such a demand cannot even be recorded."""
    asked = [number for number in (demand.power_w, demand.supply_c, demand.ramp_w_per_min) if number is not None]
    numbers = (*asked, demand.issued_unix_s, demand.valid_from_unix_s, demand.valid_until_unix_s)
    if all(math.isfinite(number) for number in numbers) and max(demand.epoch, demand.sequence) <= MAX_SEQUENCE:
        return None
    return DemandRefused(422, "a number is NaN, infinite or too large", "send finite numbers; send no demand when it is unknown")


def check_values(demand: HeatDemand, envelope: Envelope) -> DemandRefused | None:
    """What is wrong with the numbers themselves, whatever the time is."""
    if min(demand.sequence, demand.epoch) < 0:
        return DemandRefused(422, "epoch or sequence is negative", "count from 0")
    if demand.power_w is None and demand.supply_c is None:
        return DemandRefused(422, "the demand asks for nothing", "send a heat power, a supply temperature, or both")
    if demand.ramp_w_per_min is not None and demand.ramp_w_per_min <= 0:
        return DemandRefused(422, "the ramp is not above 0", "send a positive ramp, or none for the site's own")
    return _check_power(demand.power_w, envelope) or _check_supply(demand.supply_c)


def _check_power(power_w: float | None, envelope: Envelope) -> DemandRefused | None:
    if power_w is None:
        return None
    if power_w < 0:
        return DemandRefused(
            422, f"the demand is negative ({_kw(power_w)})", "this plant only gives heat: send 0 or a positive power"
        )
    ceiling_w = envelope.capacity_w * ABSURD_FACTOR if envelope.capacity_w > 0 else ABSURD_POWER_W
    if power_w > ceiling_w:
        return DemandRefused(
            422,
            f"{_kw(power_w)} is absurd: {_kw(envelope.capacity_w)} of heat is installed",
            "check the unit of the number: power is in kW, not in W",
        )
    return None


def _check_supply(supply_c: float | None) -> DemandRefused | None:
    if supply_c is None or LOWEST_SUPPLY_C <= supply_c <= HIGHEST_SUPPLY_C:
        return None
    return DemandRefused(
        422,
        f"a supply temperature of {supply_c:.1f} C is out of range",
        f"send degrees Celsius, {LOWEST_SUPPLY_C:.0f} to {HIGHEST_SUPPLY_C:.0f} (not Kelvin, not Fahrenheit)",
    )


def check_times(demand: HeatDemand, envelope: Envelope, now_unix_s: float) -> DemandRefused | None:
    """What is wrong with issue time and window, seen from now (wall clock)."""
    length_s = demand.valid_until_unix_s - demand.valid_from_unix_s
    clocks = "compare both clocks (NTP)"
    # First of all: a missing valid_from is now, and an expired demand would seem to end before it begins.
    if demand.valid_until_unix_s <= now_unix_s:
        late_s = now_unix_s - demand.valid_until_unix_s
        return DemandRefused(422, f"the demand expired {late_s:,.0f} s ago", f"send a demand that is still valid; {clocks}")
    if length_s <= 0:
        return DemandRefused(422, "the validity window ends before it begins", "valid_until must lie after valid_from")
    if length_s > envelope.max_validity_s:
        return DemandRefused(
            422,
            f"the validity window is too long ({length_s:,.0f} s)",
            f"at most {envelope.max_validity_s:,.0f} s; renew the demand instead",
        )
    if demand.issued_unix_s > now_unix_s + envelope.max_clock_skew_s:
        ahead_s = demand.issued_unix_s - now_unix_s
        return DemandRefused(422, f"the demand was issued {ahead_s:,.0f} s in the future", clocks)
    if demand.issued_unix_s < now_unix_s - envelope.max_validity_s:
        return DemandRefused(422, "the demand was issued too long ago", f"send a newly issued demand; {clocks}")
    if demand.valid_from_unix_s > now_unix_s + envelope.max_validity_s:
        return DemandRefused(
            422,
            "the validity window begins too far in the future",
            f"send it at most {envelope.max_validity_s:,.0f} s ahead",
        )
    return None


def check_step(demand: HeatDemand, envelope: Envelope, in_force_w: float | None) -> DemandRefused | None:
    """Whether the demand jumps by more than the agreed part of capacity; heat beyond capacity, never delivered, does not count."""
    if in_force_w is None or demand.power_w is None or envelope.capacity_w <= 0:
        return None
    step_w = abs(min(demand.power_w, envelope.capacity_w) - min(in_force_w, envelope.capacity_w))
    largest_w = envelope.max_step * envelope.capacity_w
    if step_w <= largest_w * (1 + 1e-9):
        return None
    return DemandRefused(
        422,
        f"the demand jumps by {_kw(step_w)}, from {_kw(in_force_w)} to {_kw(demand.power_w)}",
        f"move by at most {_kw(largest_w)} at a time, or raise heat.max_demand_step",
    )


def accepted(demand: HeatDemand, now_unix_s: float) -> DemandAccepted:
    """The answer to a demand that is taken now."""
    return DemandAccepted(
        source=demand.source,
        epoch=demand.epoch,
        sequence=demand.sequence,
        power_w=demand.power_w,
        valid_from_unix_s=demand.valid_from_unix_s,
        valid_until_unix_s=demand.valid_until_unix_s,
        state="pending" if now_unix_s < demand.valid_from_unix_s else "live",
        supply_c=demand.supply_c,
    )


class DemandBook:
    """Remembers for each source the newest demand taken, so that a replay is refused and an honest repeat is answered again."""

    def __init__(self) -> None:
        self._last: dict[str, _Last] = {}

    def answered(self, demand: HeatDemand) -> DemandAccepted | None:
        """The first answer, when this is an honest repeat (same sequence, same content) of the newest demand, however late."""
        last = self._last.get(demand.source)
        return last.answer if last is not None and self._is_repeat(demand, last.demand) else None

    def judge(
        self, demand: HeatDemand, envelope: Envelope, in_force: HeatDemand | None, now_unix_s: float
    ) -> DemandAccepted | DemandRefused:
        """Decide on a demand that is no repeat; changes nothing (see `note`). `in_force` is the demand that rules or waits to rule.

        One source rules at a time: a second one is refused until the first one's window has ended, so that two senders can never
        make the plant swing.
        """
        last = self._last.get(demand.source)
        refusal = (
            check_finite(demand)
            or self._check_order(demand, last)
            or check_values(demand, envelope)
            or check_times(demand, envelope, now_unix_s)
            or self._check_source(demand, in_force, now_unix_s)
            or check_step(demand, envelope, None if in_force is None else in_force.power_w)
        )
        if refusal is not None:
            if last is not None:
                refusal = msgspec.structs.replace(refusal, last_epoch=last.demand.epoch, last_sequence=last.demand.sequence)
            return refusal
        return accepted(demand, now_unix_s)

    def note(self, demand: HeatDemand, answer: DemandAccepted) -> None:
        """Remember an accepted demand (or one restored after a restart): nothing older of its source is taken from now on."""
        self._last[demand.source] = _Last(demand, answer)

    @staticmethod
    def _is_repeat(demand: HeatDemand, known: HeatDemand) -> bool:
        if demand.order != known.order:
            return False
        if demand.content or known.content:
            return demand.content == known.content
        return demand == known

    @staticmethod
    def _check_order(demand: HeatDemand, last: _Last | None) -> DemandRefused | None:
        if last is None or demand.order > last.demand.order:
            return None
        known = last.demand
        if demand.epoch < known.epoch:
            return DemandRefused(
                409,
                f"epoch {demand.epoch} is over: epoch {known.epoch} was seen",
                f"use epoch {known.epoch} with a sequence above {known.sequence}, or a higher epoch",
            )
        what = "was already used for another demand" if demand.sequence == known.sequence else "is older than one already taken"
        return DemandRefused(
            409,
            f"sequence {demand.sequence} {what} (last is {known.sequence})",
            f"count on from {known.sequence + 1}; raise the epoch after losing count",
        )

    def _check_source(self, demand: HeatDemand, in_force: HeatDemand | None, now_unix_s: float) -> DemandRefused | None:
        if in_force is not None and in_force.source != demand.source:
            rest_s = in_force.valid_until_unix_s - now_unix_s
            return DemandRefused(
                409,
                f"another source rules: {in_force.source}, for {rest_s:,.0f} s more",
                "let one source send all demands, or wait until the other's window has ended",
            )
        if demand.source not in self._last and len(self._last) >= MAX_SOURCES:
            return DemandRefused(409, f"{MAX_SOURCES} sources have been seen already", "send under one of their names")
        return None
