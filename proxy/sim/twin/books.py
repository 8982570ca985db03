"""The twin's ledger: what heat control records, kept in memory and counted.

It stands where `ledger.Ledger` stands for heat control; the records are the same. Nothing is durable, and there are no shares.
"""

from proxy.ledger.records import CommandRecord, DemandRecord, EnergyRecord, MemoryRecord, SetpointRecord


class Books:
    """Takes everything. `commands_taken` counts commands; of them only the numbers are kept."""

    def __init__(self) -> None:
        """Empty."""
        self.demands: dict[str, DemandRecord] = {}
        self.demands_refused = 0
        self.setpoints: list[SetpointRecord] = []
        self.energies: list[EnergyRecord] = []
        self.commands_taken = 0
        self.commands_refused = 0
        self.reasons: dict[str, int] = {}
        self._memories: dict[str, MemoryRecord] = {}

    def record_demand(self, record: DemandRecord) -> bool:
        """Keep the newest of each source, as the ledger gives it back after a restart."""
        if record.accepted:
            self.demands[record.source] = record
        else:
            self.demands_refused += 1
        return True

    def record_setpoint(self, record: SetpointRecord) -> bool:
        """Keep it."""
        self.setpoints.append(record)
        return True

    def record_command(self, record: CommandRecord) -> bool:
        """Count it, and by reason those of safety."""
        if record.result == "taken":
            self.commands_taken += 1
        else:
            self.commands_refused += 1
        if not record.reason.startswith("set-point"):
            self.reasons[record.reason] = self.reasons.get(record.reason, 0) + 1
        return True

    def record_energy(self, record: EnergyRecord) -> bool:
        """Keep it."""
        self.energies.append(record)
        return True

    def record_memory(self, record: MemoryRecord) -> bool:
        """Keep the newest of each name."""
        self._memories[record.name] = record
        return True

    def memories(self) -> dict[str, MemoryRecord]:
        """As the next control is given them."""
        return dict(self._memories)

    def newest_demands(self) -> dict[str, DemandRecord]:
        """The newest accepted demand of every source."""
        return dict(self.demands)

    def planned_demands(self) -> list[DemandRecord]:
        """None: a twin has no earlier run."""
        return []
