"""The configured units by id, by address and by worker name, and the rule for a Stratum connection that fits two of them.

Reading files is checks'; whether the right machine stands at an address is `identity`'s.
"""

from collections.abc import Iterable, Mapping

from proxy import config
from proxy.events import EventLog

# A conflict is told once; so many different ones are remembered, so that a hostile miner cannot grow our memory.
MAX_CONFLICTS = 1_000


def spread_over_loops(units: Iterable[config.Unit]) -> list[str]:
    """Unit ids in an order of which any stretch takes its part of every loop: who moves by stretches never moves a loop whole."""
    loops: dict[str, list[str]] = {}
    for unit in units:
        loops.setdefault(unit.loop, []).append(unit.id)
    placed = [((k + 0.5) / len(ids), unit_id) for ids in loops.values() for k, unit_id in enumerate(ids)]
    return [unit_id for _, unit_id in sorted(placed, key=lambda entry: entry[0])]


class Inventory:
    """All units of the site. Look-ups are exact first; worker names also without account prefix and without regard to case."""

    def __init__(self, units: Iterable[config.Unit], events: EventLog, models: Mapping[str, config.Model] | None = None) -> None:
        """`models` say after how many characters a unit's firmware cuts its worker name."""
        self._events = events
        self._units = {unit.id: unit for unit in units}
        self._by_address: dict[str, str | None] = {}
        self._by_worker: dict[str, str | None] = {}
        self._by_folded: dict[str, str | None] = {}
        self._cut: dict[int, list[tuple[str, str]]] = {}  # limit -> folded worker name and unit id
        self._conflicts: set[tuple[str, str]] = set()
        for unit in self._units.values():
            worker = unit.worker or unit.id
            _index(self._by_address, unit.address, unit.id)
            _index(self._by_worker, worker, unit.id)
            _index(self._by_folded, worker.casefold(), unit.id)
            if models is not None:
                self._cut.setdefault(models[unit.model].worker_name_limit, []).append((worker.casefold(), unit.id))

    def __len__(self) -> int:
        return len(self._units)

    def units(self) -> list[config.Unit]:
        """All of them, in the order of the configuration."""
        return list(self._units.values())

    def by_id(self, unit_id: str) -> config.Unit | None:
        """The unit of this id."""
        return self._units.get(unit_id)

    def by_address(self, address: str) -> str | None:
        """Id of the one unit at this address; None when there is none, or more than one (behind NAT, or simulated)."""
        return self._by_address.get(address)

    def by_worker(self, worker: str) -> str | None:
        """Id of the unit that mines as `worker`.

        `account.sub.rig7` is tried whole, then as `sub.rig7`, then as `rig7`; each first as written, then without regard to
        case, where it counts only if one unit fits.
        """
        name: str = worker.strip()
        while name:
            found = self._by_worker.get(name) or self._by_folded.get(name.casefold())
            if found is not None:
                return found
            _, _, name = name.partition(".")
        return None

    def by_cut_worker(self, worker: str) -> str | None:
        """Id of the unit whose firmware cut `account.name` to this `worker`; None when none fits, or more than one does.

        Only a name that is exactly as long as the firmware lets it be was cut.
        """
        found = [unit_id for name, unit_id in self._cut.get(len(worker), ()) if _begins(worker.casefold(), name)]
        return found[0] if len(found) == 1 else None

    def match(self, worker: str, address: str) -> str | None:
        """The unit that a Stratum connection belongs to; None for a stranger.

        Where name and address say different units, the address wins: it is where commands go, so it is whose hashrate follows
        them, and a name is copied from machine to machine far more easily than an address. The event
        `unit.identity_conflict` says so, once for each pair.
        """
        named, placed = self.by_worker(worker) or self.by_cut_worker(worker), self.by_address(address)
        if named is None or placed is None or named == placed:
            return placed or named
        conflict = (named, placed)
        if conflict not in self._conflicts and len(self._conflicts) < MAX_CONFLICTS:
            self._conflicts.add(conflict)
            self._events.publish(
                "unit.identity_conflict",
                "warning",
                unit=placed,
                worker=worker,
                worker_of=named,
                address=address,
                remedy=f"set the worker name of the machine at {address} to that of unit {placed}, or correct the units' addresses",
            )
        return placed


def _begins(worker: str, name: str) -> bool:
    """Whether `worker`, with or without accounts before it, is the beginning of `name`."""
    while worker:
        if name.startswith(worker):
            return True
        _, _, worker = worker.partition(".")
    return False


def _index(index: dict[str, str | None], key: str, unit_id: str) -> None:
    """Ambiguous keys stay in the index as None: they identify nobody."""
    index[key] = None if key in index else unit_id
