"""Pictures of a run: heat against demand, temperatures, levels, prices. PNG files in a folder.

Drawn without any display. It computes no figure: those are the summary's.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from proxy.sim.twin.engine import RUNGS, Twin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that stay apart for everybody (Okabe and Ito).
BLUE, ORANGE, GREEN, RED, SKY, GREY, BLACK = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#999999", "#222222"
# A line of some thousand points is all that a picture can show.
POINTS = 3_000
SIZE = (12.0, 7.0)


def draw(twin: Twin, folder: Path) -> list[Path]:
    """Write the pictures of a finished run into `folder`, which is made. Raises OSError."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in (("heat", _heat), ("temperatures", _temperatures), ("levels", _levels), ("prices", _prices)):
        figure = picture(twin)
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=110)
        written.append(path)
        _close(figure)
    return written


def _close(figure: "Figure") -> None:
    from matplotlib import pyplot

    pyplot.close(figure)


def _figure(twin: Twin, rows: int, ratios: tuple[float, ...], title: str) -> "tuple[Figure, list[Axes]]":
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, 1, figsize=SIZE, sharex=True, layout="constrained", height_ratios=ratios, squeeze=False)
    figure.suptitle(f"{twin.loaded.scenario.scenario.title}: {title}", fontsize=12)
    plain = [row[0] for row in axes]
    for ax in plain:
        ax.grid(alpha=0.25)
        ax.margins(x=0.0)
        ax.spines[["top", "right"]].set_visible(False)
    hours = twin.record.hours
    plain[-1].set_xlabel("hours")
    if len(hours) and hours[-1] > 12:
        plain[-1].set_xticks(np.arange(0.0, hours[-1] + 0.1, 2.0 if hours[-1] <= 30 else 12.0))
    return figure, plain


def _thin(twin: Twin) -> slice:
    return slice(None, None, max(1, twin.record.length // POINTS))


def _watts(twin: Twin) -> tuple[float, str]:
    return (1e6, "MW") if np.nanmax(twin.record["power_w"]) >= 2e5 else (1e3, "kW")


def _heat(twin: Twin) -> "Figure":
    record, thin = twin.record, _thin(twin)
    figure, (top, middle, bottom) = _figure(twin, 3, (3.0, 1.6, 0.5), "heat demanded and delivered")
    scale, unit = _watts(twin)
    hours = record.hours[thin]
    top.plot(hours, record["power_w"][thin] / scale, color=GREY, lw=0.9, label="electrical power")
    top.plot(
        hours, record["heat_w"][thin] / scale, color=RED, lw=1.3, label="heat made" if twin.tank is not None else "heat delivered"
    )
    top.step(hours, record["demand_w"][thin] / scale, color=BLUE, lw=1.2, where="post", label="heat demanded")
    if twin.tank is not None:
        top.plot(hours, record["served_w"][thin] / scale, color=GREEN, lw=1.3, label="served to the town")
    top.set_ylabel(unit)
    top.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=4, frameon=False)
    demand_w = record["demand_w"]
    error = 100.0 * (record["served_w"] - demand_w) / np.where(demand_w > 0, demand_w, np.nan)
    middle.axhspan(-1, 1, color=GREEN, alpha=0.15, lw=0)
    middle.plot(hours, error[thin], color=BLACK, lw=0.8)
    limit = min(max(3.0, float(np.nanpercentile(np.abs(error), 99.5)) * 1.2), 60.0) if np.isfinite(error).any() else 3.0
    middle.set_ylim(-limit, limit)
    middle.set_ylabel("error, %\n(green: 1 %)")
    bottom.step(hours, record["rung"][thin], color=BLUE, lw=1.2, where="post")
    bottom.set_yticks(range(len(RUNGS)), RUNGS, fontsize=7)
    bottom.set_ylim(-0.5, len(RUNGS) - 0.5)
    return figure


def _temperatures(twin: Twin) -> "Figure":
    record, thin = twin.record, _thin(twin)
    figure, (top, bottom) = _figure(twin, 2, (2.0, 1.0), "temperatures")
    hours = record.hours[thin]
    if twin.room is None:
        for name, color, label in (
            ("hottest_c", RED, "hottest unit, outlet"),
            ("supply_c", ORANGE, "network supply"),
            ("inlet_c", SKY, "units, inlet"),
            ("return_c", BLUE, "return to the plant"),
            ("supply_asked_c", BLACK, "supply asked for"),
        ):
            if np.isfinite(record[name]).any():
                top.plot(hours, record[name][thin], color=color, lw=1.1, label=label)
    else:
        top.plot(hours, record["room_c"][thin], color=RED, lw=1.2, label="room")
        top.step(hours, record["room_set_c"][thin], color=BLUE, lw=1.0, where="post", label="thermostat")
    top.set_ylabel("°C")
    top.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=5, frameon=False)
    bottom.plot(hours, record["outdoor_c"][thin], color=BLACK, lw=1.0)
    bottom.set_ylabel("outdoor, °C")
    return figure


def _levels(twin: Twin) -> "Figure":
    record, thin = twin.record, _thin(twin)
    figure, (ax,) = _figure(twin, 1, (1.0,), "units by level")
    counts = record.levels[: record.length][thin].T
    model = max(twin.site.models.values(), key=lambda each: len(each.levels))
    labels = ["asleep or starting", *(level.name for level in model.levels), "dead"]
    shades = ["#d9d9d9", "#c6dbef", "#9ecae1", "#6baed6", "#3182bd", "#08519c", "#08306b"]
    colors = [shades[min(k, len(shades) - 1)] for k in range(len(labels) - 1)] + [RED]
    ax.stackplot(record.hours[thin], counts, labels=labels, colors=colors, lw=0)
    ax.set_ylim(0, len(twin.machines))
    ax.set_ylabel("units")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=len(labels), frameon=False)
    return figure


def _prices(twin: Twin) -> "Figure":
    record, thin = twin.record, _thin(twin)
    has_tank = twin.tank is not None
    figure, axes = _figure(twin, 2 if has_tank else 1, (1.0, 1.0) if has_tank else (1.0,), "prices")
    currency = twin.site.heat.costs.currency
    axes[0].step(record.hours[thin], record["spot_per_kwh"][thin], color=ORANGE, lw=1.2, where="post", label="electricity, spot")
    axes[0].plot(
        record.hours[thin],
        record["marginal_price_per_kwh"][thin],
        color=GREEN,
        lw=1.0,
        label="one more kWh of heat costs (marginal price)",
    )
    axes[0].set_ylabel(f"{currency} per kWh")
    axes[0].legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=2, frameon=False)
    if has_tank:
        axes[1].plot(record.hours[thin], record["stored_wh"][thin] / 1e6, color=BLUE, lw=1.2)
        axes[1].set_ylabel("heat in the tank, MWh")
        axes[1].set_ylim(bottom=0.0)
    return figure
