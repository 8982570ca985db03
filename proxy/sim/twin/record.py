"""What a run of the twin leaves behind: one row a step, for scoring and plots.

Arrays only; what they mean is `sim.score`'s and the plots'.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Record:
    """Columns of equal length, filled row by row."""

    COLUMNS = (
        "demand_w",
        "heat_w",
        "served_w",
        "metered_w",
        "power_w",
        "setpoint_w",
        "outdoor_c",
        "spot_per_kwh",
        "marginal_price_per_kwh",
        "supply_c",
        "supply_asked_c",
        "return_c",
        "hottest_c",
        "inlet_c",
        "stored_wh",
        "short_w",
        "room_c",
        "room_set_c",
        "hashrate_hps",
        "rung",
    )

    def __init__(self, steps: int, step_s: float, levels: int) -> None:
        """`levels`: of the richest model, sleep included."""
        self.step_s = step_s
        self.columns: dict[str, Floats] = {name: np.full(steps, np.nan) for name in self.COLUMNS}
        self.levels: npt.NDArray[np.int64] = np.zeros((steps, levels + 1), np.int64)  # the last column: dead
        self.decisions_s: list[float] = []
        self.length = 0

    def add(self, levels: npt.NDArray[np.int64], **values: float | None) -> None:
        """One row; what is not named stays unknown."""
        for name, value in values.items():
            if value is not None:
                self.columns[name][self.length] = value
        self.levels[self.length] = levels
        self.length += 1

    def __getitem__(self, name: str) -> Floats:
        return self.columns[name][: self.length]

    @property
    def hours(self) -> Floats:
        """Time of each row."""
        hours: Floats = np.arange(1, self.length + 1, dtype=np.float64) * (self.step_s / 3_600.0)
        return hours
