"""What the registers that a master writes mean: who is the master, whether it is alive, and which demand follows.

Pure but for the calls to the port. A request counts whole or not at all, so a float never changes by halves and a set-point never
without its mode; only an emergency stop is taken from any request. One master rules at a time; every allowed host may read.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from proxy.events import EventLog
from proxy.heat.demand import ABSURD_POWER_W, HIGHEST_SUPPLY_C, LOWEST_SUPPLY_C, DemandAccepted, DemandRefused, HeatDemand
from proxy.heat.mbap import ExcCodes
from proxy.heat.signals.modbus_map import (
    ENTRIES,
    FIRST_NUMBER,
    REPORT_AT,
    WRITABLE,
    Entry,
    Mode,
    Own,
    Refusal,
    WordOrder,
    decode,
    encode,
    report_words,
)
from proxy.heat.signals.port import SignalPort
from proxy.heat.signals.status import SignalStatus

SOURCE = "modbus"
# A demand is renewed when less than this part of its life is left: a row in the ledger each time, so not with every beat.
RENEW_BELOW = 0.5
# Set-points that may change at once, and how many more each second: beyond is a loop gone wild, and a row in the ledger each time.
CHANGES_AT_ONCE = 10.0
CHANGES_PER_S = 1.0
# No set-point is this small and not 0; a float with its words swapped usually is.
SMALLEST_KW = 1e-6
LOWEST_OUTDOOR_C, HIGHEST_OUTDOOR_C = -60.0, 60.0
_BY_ADDRESS = {address: entry for entry in ENTRIES for address in entry.addresses}
_STOP_AT = next(entry.address for entry in WRITABLE if entry.name == "stop")
_SETPOINTS = frozenset({"mode", "power_set", "supply_set", "ramp"})


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A request that had no effect: the exception code on the wire, and why."""

    code: ExcCodes
    refusal: Refusal
    reason: str


class _Wanted(msgspec.Struct, frozen=True, gc=False):
    """What the written registers ask for."""

    power_w: float | None
    supply_c: float | None
    ramp_w_per_min: float | None


class Desk:
    """The written registers and their effects. `now_s` is monotonic, `now_unix_s` wall-clock time."""

    def __init__(
        self,
        port: SignalPort,
        events: EventLog,
        status: SignalStatus,
        *,
        alive_timeout_s: float,
        word_order: WordOrder,
        epoch: int,
    ) -> None:
        """`epoch` must rise from one run of the process to the next: it orders our demands."""
        self._port = port
        self._events = events
        self._status = status
        self._timeout_s = alive_timeout_s
        self._order = word_order
        self._epoch = epoch
        self._sequence = 0
        self._values: dict[str, float] = {}
        self._master: str | None = None
        self._master_since_s = 0.0
        self._moved_s: float | None = None
        self._was_alive = False
        self._in_force: tuple[_Wanted, float] | None = None
        self._changes = CHANGES_AT_ONCE
        self._changes_at_unix_s = 0.0
        self._refusals = 0
        self._last_refusal = Refusal.NONE
        self._refused_s: float | None = None
        self._rival_s: float | None = None

    # What masters do.

    def read(self, address: int, count: int, now_s: float, now_unix_s: float) -> list[int] | Refused:
        """Registers `address` to `address + count`; those a master writes say what was taken, not what was sent."""
        if not all(register in _BY_ADDRESS for register in range(address, address + count)):
            return Refused(ExcCodes.ILLEGAL_ADDRESS, Refusal.NO_SUCH_REGISTER, _no_register(address, count))
        words: dict[int, int] = {}
        if address + count > REPORT_AT:
            words = report_words(self._port.report(now_unix_s), self._own(now_s), self._order)
        else:
            for entry in WRITABLE:
                value = self._values.get(entry.name, 0.0 if entry.kind == "u16" else None)
                words.update(zip(entry.addresses, encode(entry.kind, value, self._order), strict=True))
        return [words[register] for register in range(address, address + count)]

    def write(self, host: str, address: int, words: Sequence[int], now_s: float, now_unix_s: float) -> Refused | None:
        """Take a whole request, or refuse it; None when taken. An emergency stop in it counts either way."""
        self._status.heard()
        # First, and whatever else is wrong with the request.
        if address <= _STOP_AT < address + len(words) and words[_STOP_AT - address] != 0:
            self._stop(host)
        refused = self._take(host, address, words, now_s, now_unix_s)
        if refused is None:
            self._status.accepted()
            return None
        self.note_refused(host, refused, now_s)
        return refused

    def note_refused(self, host: str, refused: Refused, now_s: float) -> None:
        """Count a write that had no effect, and tell why."""
        self._refusals += 1
        self._last_refusal, self._refused_s = refused.refusal, now_s
        self._status.refused(f"{host}: {refused.reason}", is_told=refused.refusal is Refusal.NOT_FOLLOWED)

    def watch(self, now_s: float) -> None:
        """Tell of a master that fell silent, or is back. Call it about once a second."""
        is_alive = self._is_alive(now_s)
        if self._was_alive and not is_alive:
            self._events.publish("modbus.alive_lost", "warning", master=self._master, timeout_s=self._timeout_s)
        elif is_alive and not self._was_alive:
            self._events.publish("modbus.alive_moves", master=self._master)
        self._was_alive = is_alive
        self._status.alive(is_alive)

    # Inside.

    def _take(self, host: str, address: int, words: Sequence[int], now_s: float, now_unix_s: float) -> Refused | None:
        entries = _covered(address, len(words))
        if isinstance(entries, Refused):
            return entries
        written = {
            entry.name: decode(entry.kind, [words[register - address] for register in entry.addresses], self._order)
            for entry in entries
        }
        if set(written) == {"stop"}:
            # Whoever holds a stop may give it back, master or not.
            self._release(host, written, is_master=host == self._master)
            return None
        refused = self._admit(host, now_s)
        if refused is None:
            # What another master asked for is not this one's.
            before = self._values if host == self._master else {}
            refused = self._apply(host, before, written, now_s, now_unix_s)
        return refused

    def _apply(
        self, host: str, before: Mapping[str, float], written: Mapping[str, float], now_s: float, now_unix_s: float
    ) -> Refused | None:
        staged = {**before, **written}
        refused = _check(written, staged)
        if refused is not None:
            return refused
        is_moved = "alive" in written and "alive" in before and written["alive"] != before["alive"]
        moved_s = now_s if is_moved else self._moved_s if host == self._master else None
        if "outdoor" in written:
            reason = self._port.set_outdoor(written["outdoor"], SOURCE, now_unix_s)
            if reason is not None:
                return Refused(ExcCodes.ILLEGAL_VALUE, Refusal.OUT_OF_RANGE, f"outdoor temperature: {reason}")
        if moved_s is not None and now_s - moved_s < self._timeout_s:
            refused = self._follow(staged, moved_s + now_unix_s - now_s, now_unix_s)
            if refused is not None and _SETPOINTS & written.keys():
                return refused
            if refused is not None:
                self._status.refused(f"{host}: {refused.reason}", is_told=True)
        self._become_master(host, now_s)
        self._values, self._moved_s = staged, moved_s
        self._release(host, written, is_master=True)
        return None

    def _admit(self, host: str, now_s: float) -> Refused | None:
        """Whether this host may write: the master, or anybody while no master is alive."""
        if self._master is None or host == self._master:
            return None
        since_s = self._master_since_s if self._moved_s is None else max(self._moved_s, self._master_since_s)
        if now_s - since_s >= self._timeout_s:
            return None
        self._rival_s = now_s
        return Refused(
            ExcCodes.DEVICE_BUSY,
            Refusal.ANOTHER_MASTER,
            f"another master rules: {self._master}; it must be silent for {self._timeout_s:g} s before a second one may write",
        )

    def _become_master(self, host: str, now_s: float) -> None:
        if host == self._master:
            return
        self._events.publish(
            "modbus.master_changed", "info" if self._master is None else "warning", master=host, before=self._master
        )
        self._master, self._master_since_s, self._was_alive = host, now_s, False

    def _is_alive(self, now_s: float) -> bool:
        return self._moved_s is not None and now_s - self._moved_s < self._timeout_s

    def _follow(self, values: Mapping[str, float], moved_unix_s: float, now_unix_s: float) -> Refused | None:
        """Have heat control follow the set-points until the alive counter is due; nothing to do while it follows them already."""
        wanted = _wanted(values)
        if wanted is None:
            self._in_force = None
            return None
        until_s = moved_unix_s + self._timeout_s
        if self._in_force is not None:
            known, ends_s = self._in_force
            if known == wanted and ends_s - now_unix_s > RENEW_BELOW * self._timeout_s:
                return None
        if not self._may_change(now_unix_s):
            return Refused(
                ExcCodes.DEVICE_BUSY, Refusal.TOO_FAST, "set-points change faster than one a second; is a loop oscillating?"
            )
        answer = self._submit(wanted, until_s, now_unix_s)
        if isinstance(answer, DemandAccepted):
            self._in_force = (wanted, until_s)
            return None
        if answer.code in (409, 429):
            return Refused(ExcCodes.DEVICE_BUSY, Refusal.ANOTHER_SOURCE, f"{answer.reason}; {answer.remedy}")
        return Refused(ExcCodes.ILLEGAL_VALUE, Refusal.NOT_FOLLOWED, f"{answer.reason}; {answer.remedy}")

    def _may_change(self, now_unix_s: float) -> bool:
        gained = max(0.0, now_unix_s - self._changes_at_unix_s) * CHANGES_PER_S
        self._changes, self._changes_at_unix_s = min(CHANGES_AT_ONCE, self._changes + gained), now_unix_s
        if self._changes < 1.0:
            return False
        self._changes -= 1.0
        return True

    def _submit(self, wanted: _Wanted, until_unix_s: float, now_unix_s: float) -> DemandAccepted | DemandRefused:
        answer = self._port.submit_demand(self._demand(wanted, until_unix_s, now_unix_s), now_unix_s)
        if isinstance(answer, DemandRefused) and answer.last_epoch is not None and answer.last_epoch > self._epoch:
            # The clock went back since an earlier run: count on from there.
            self._epoch = answer.last_epoch
            self._sequence = answer.last_sequence or 0
            answer = self._port.submit_demand(self._demand(wanted, until_unix_s, now_unix_s), now_unix_s)
        self._status.asked(answer)
        return answer

    def _demand(self, wanted: _Wanted, until_unix_s: float, now_unix_s: float) -> HeatDemand:
        self._sequence += 1
        return HeatDemand(
            source=SOURCE,
            epoch=self._epoch,
            sequence=self._sequence,
            issued_unix_s=now_unix_s,
            valid_from_unix_s=now_unix_s,
            valid_until_unix_s=until_unix_s,
            power_w=wanted.power_w,
            supply_c=wanted.supply_c,
            ramp_w_per_min=wanted.ramp_w_per_min,
        )

    def _stop(self, host: str) -> None:
        if host not in self._stops():
            self._events.publish("modbus.stop_set", "error", host=host)
        self._port.set_emergency_stop(True, f"{SOURCE} {host}")

    def _release(self, host: str, written: Mapping[str, float], *, is_master: bool) -> None:
        """A stop ends when its host writes 0; the master, having set one itself, ends all: a host that is gone must not hold it."""
        held = self._stops()
        if written.get("stop") != 0 or host not in held:
            return
        for holder in sorted(held) if is_master else [host]:
            self._port.set_emergency_stop(False, f"{SOURCE} {holder}")
            self._events.publish("modbus.stop_released", "warning", host=holder, by=host)

    def _stops(self) -> set[str]:
        """Hosts whose stop is held: heat control knows, over restarts of ours and releases by hand."""
        prefix = f"{SOURCE} "
        return {source.removeprefix(prefix) for source in self._port.stop_sources() if source.startswith(prefix)}

    def _own(self, now_s: float) -> Own:
        def is_recent(at_s: float | None) -> bool:
            return at_s is not None and now_s - at_s < self._timeout_s

        return Own(
            is_alive_lost=self._master is not None and not self._is_alive(now_s),
            is_stop_held=bool(self._stops()),
            was_write_refused=is_recent(self._refused_s),
            had_second_master=is_recent(self._rival_s),
            refusals=self._refusals,
            last_refusal=self._last_refusal,
        )


def _no_register(address: int, count: int) -> str:
    return f"there is no register {address + FIRST_NUMBER} to {address + count - 1 + FIRST_NUMBER} in the map"


def _covered(address: int, count: int) -> list[Entry] | Refused:
    """The values that a write covers, each of them whole."""
    wanted = range(address, address + count)
    entries = list(dict.fromkeys(_BY_ADDRESS[register] for register in wanted if register in _BY_ADDRESS))
    if not all(register in _BY_ADDRESS for register in wanted):
        return Refused(ExcCodes.ILLEGAL_ADDRESS, Refusal.NO_SUCH_REGISTER, _no_register(address, count))
    for entry in entries:
        number = entry.address + FIRST_NUMBER
        if not entry.is_writable:
            return Refused(ExcCodes.ILLEGAL_ADDRESS, Refusal.NOT_WRITABLE, f"register {number} ({entry.name}) is only read")
        if entry.addresses[0] < wanted[0] or entry.addresses[-1] > wanted[-1]:
            reason = f"{entry.name} takes both registers {number} and {number + 1}: write them in one request (function 16)"
            return Refused(ExcCodes.ILLEGAL_ADDRESS, Refusal.HALF_A_VALUE, reason)
    return entries


def _check(written: Mapping[str, float], staged: Mapping[str, float]) -> Refused | None:
    """What is wrong with the values: those written, and the one that the mode means."""
    for name, value in written.items():
        if not math.isfinite(value):
            return _bad(Refusal.NOT_A_NUMBER, f"{name} is {value}: keep the last good value, or stop the alive counter")
    mode = staged.get("mode", 0)
    if mode not in tuple(Mode):
        return _bad(Refusal.OUT_OF_RANGE, f"mode {mode:.0f} is not known: 0 no demand, 1 power, 2 supply temperature")
    power_kw = written.get("power_set", 0.0)
    if power_kw < 0:
        return _bad(Refusal.NEGATIVE, f"power {power_kw:g} kW is negative: 0 or more; are the two words swapped?")
    if 0 < power_kw < SMALLEST_KW or power_kw * 1_000.0 > ABSURD_POWER_W:
        return _bad(Refusal.OUT_OF_RANGE, f"power {power_kw:,g} kW is absurd: power is in kW; are the two words swapped?")
    supply_c = staged.get("supply_set", 0.0)
    # 0 is what a PLC holds that never uses the supply temperature.
    is_unused = supply_c == 0 and mode != Mode.SUPPLY
    is_judged = "supply_set" in written or "mode" in written
    if is_judged and not is_unused and not LOWEST_SUPPLY_C <= supply_c <= HIGHEST_SUPPLY_C:
        limits = f"{LOWEST_SUPPLY_C:.0f} to {HIGHEST_SUPPLY_C:.0f}"
        return _bad(Refusal.OUT_OF_RANGE, f"supply temperature {supply_c:g} C is out of range ({limits}); are the words swapped?")
    outdoor_c = written.get("outdoor", 0.0)
    if not LOWEST_OUTDOOR_C <= outdoor_c <= HIGHEST_OUTDOOR_C:
        return _bad(Refusal.OUT_OF_RANGE, f"outdoor temperature {outdoor_c:g} C is out of range")
    return None


def _bad(refusal: Refusal, reason: str) -> Refused:
    return Refused(ExcCodes.ILLEGAL_VALUE, refusal, reason)


def _wanted(values: Mapping[str, float]) -> _Wanted | None:
    """The demand in the registers; None: none."""
    ramp_w_per_min = values.get("ramp", 0.0) * 1_000.0 or None
    mode = values.get("mode", 0)
    if mode == Mode.POWER and "power_set" in values:
        return _Wanted(values["power_set"] * 1_000.0, None, ramp_w_per_min)
    if mode == Mode.SUPPLY and "supply_set" in values:
        return _Wanted(None, values["supply_set"], ramp_w_per_min)
    return None
