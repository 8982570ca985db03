"""A schedule of demands as a JSON body: one number for all of it, blocks of one length.

    {"sequence": 42, "start": "2026-01-15T07:00:00Z", "step_s": 900, "power_kw": [1500, 1600, 1550]}
    {"sequence": 43, "start": 1768460400, "supply_c": [75, 75, 78]}

Whether its blocks may rule is judged by schedule.take, as for any demand. Who may send at all is the web server's business.
"""

import hashlib

import msgspec

from proxy.heat.demand import DemandRefused, HeatDemand
from proxy.heat.signals.forecasts import Moment, unix_s
from proxy.heat.signals.rest import SOURCE, SOURCE_REMEDY, problem_of

# Two days of quarter hours with all digits, heat and temperature.
MAX_BODY_BYTES = 16_384
MAX_BLOCKS = 192
SHORTEST_S, LONGEST_S = 60.0, 3_600.0
QUARTER_S = 900.0
_FIELDS = (
    "known fields: source, epoch, sequence, issued_at, start, step_s, power_kw, supply_c, ramp_kw_per_min; sequence, start and "
    "one of the lists power_kw and supply_c are needed"
)


class ScheduleBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """power_kw, supply_c: one number for each block, from start on, step_s each; with both lists, as many of each."""

    sequence: int
    start: Moment
    step_s: float = QUARTER_S
    power_kw: list[float] | None = None
    supply_c: list[float] | None = None
    ramp_kw_per_min: float | None = None
    source: str | None = None
    epoch: int = 0
    issued_at: Moment | None = None


_BODY = msgspec.json.Decoder(ScheduleBody)


def decode_schedule(body: bytes, source: str, now_unix_s: float) -> list[HeatDemand] | DemandRefused:
    """Turn a body into its blocks, in order of time and at least one, or say what is wrong with it. Never raises for any bytes.

    `source` is who sent it (the key's name) where the body names none.
    """
    problem = problem_of(body, MAX_BODY_BYTES)
    if problem is not None:
        return DemandRefused(400, *problem)
    try:
        sent = _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return DemandRefused(400, f"the body does not fit: {error}", _FIELDS)
    name = source if sent.source is None else sent.source
    return _refusal(sent, name) or _blocks(sent, name, now_unix_s)


def _refusal(sent: ScheduleBody, name: str) -> DemandRefused | None:
    if SOURCE.fullmatch(name) is None:
        return DemandRefused(422, "source is not a name", SOURCE_REMEDY)
    lengths = {len(values) for values in (sent.power_kw, sent.supply_c) if values is not None}
    if not lengths or 0 in lengths:
        return DemandRefused(422, "the schedule has no blocks", _FIELDS)
    if len(lengths) > 1:
        return DemandRefused(422, "power_kw and supply_c are not of one length", "send a number of each for every block")
    if max(lengths) > MAX_BLOCKS:
        return DemandRefused(422, f"the schedule has {max(lengths)} blocks", f"at most {MAX_BLOCKS}: plan less far ahead")
    if not SHORTEST_S <= sent.step_s <= LONGEST_S:
        return DemandRefused(
            422,
            f"a block of {sent.step_s:g} s is out of range",
            f"step_s is {SHORTEST_S:g} to {LONGEST_S:g}; quarter hours are 900",
        )
    return None


def _blocks(sent: ScheduleBody, name: str, now_unix_s: float) -> list[HeatDemand]:
    start = unix_s(sent.start)
    count = len(sent.power_kw or sent.supply_c or ())
    content = hashlib.sha256(msgspec.json.encode(sent)).hexdigest()[:32]
    issued = now_unix_s if sent.issued_at is None else unix_s(sent.issued_at)
    return [
        HeatDemand(
            source=name,
            epoch=sent.epoch,
            sequence=sent.sequence,
            issued_unix_s=issued,
            valid_from_unix_s=start + k * sent.step_s,
            valid_until_unix_s=start + (k + 1) * sent.step_s,
            power_w=None if sent.power_kw is None else sent.power_kw[k] * 1000,
            content=content,
            supply_c=None if sent.supply_c is None else sent.supply_c[k],
            ramp_w_per_min=None if sent.ramp_kw_per_min is None else sent.ramp_kw_per_min * 1000,
        )
        for k in range(count)
    ]
