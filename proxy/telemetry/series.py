"""What a metric is: a name, a kind, a help text, and how its samples are read from a view. The metrics themselves: metrics.py.

A reading of None is unknown and gives no sample, never 0. Labels are bounded in number and in length, because some come from peers.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, Literal, TypeVar

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

PREFIX = "thermostratum_"
LABEL_LIMIT = 32  # distinct codes or reasons of one peer; the rest counts as "other"

View = TypeVar("View")
Samples = Iterable[tuple[tuple[str, ...], float | None]]


class Series(msgspec.Struct, Generic[View], frozen=True):
    """One metric: `read` gives its samples from a view, each with the values of `labels`."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    read: Callable[[View], Samples]
    labels: tuple[str, ...] = ()


def gauge(name: str, text: str, read: Callable[[View], float | None]) -> Series[View]:
    """One value that goes up and down."""
    return Series(name, "gauge", text, lambda view: (((), read(view)),))


def counter(name: str, text: str, read: Callable[[View], float | None]) -> Series[View]:
    """One value that only rises while the process lives."""
    return Series(name, "counter", text, lambda view: (((), read(view)),))


def gauges(name: str, text: str, read: Callable[[View], Samples], labels: tuple[str, ...]) -> Series[View]:
    """Several values of one thing, told apart by labels."""
    return Series(name, "gauge", text, read, labels)


def state(
    name: str, text: str, states: tuple[str, ...], read: Callable[[View], str | None], *, label: str = "state"
) -> Series[View]:
    """A state as one 0/1 sample for each possible state; none at all where `read` gives None."""

    def samples(view: View) -> Samples:
        now = read(view)
        return () if now is None else [((each,), float(now == each)) for each in states]

    return Series(name, "gauge", text, samples, (label,))


def counts(name: str, text: str, read: Callable[[View], Mapping[str, int]], label: str) -> Series[View]:
    """One counter for each key, the rare ones beyond LABEL_LIMIT added up as `other`."""

    def samples(view: View) -> Samples:
        ranked = sorted(read(view).items(), key=lambda item: (-item[1], item[0]))
        for key, count in ranked[:LABEL_LIMIT]:
            yield (label_of(key),), count
        if len(ranked) > LABEL_LIMIT:
            yield ("other",), sum(count for _, count in ranked[LABEL_LIMIT:])

    return Series(name, "counter", text, samples, (label,))


def label_of(text: str) -> str:
    """A bounded, printable label value: codes and reasons come from peers."""
    return re.sub(r"[^A-Za-z0-9_.:/+ -]", "_", text)[:64] or "none"


def families(
    table: Iterable[Series[View]], keyed: Iterable[tuple[tuple[str, ...], View]], keys: tuple[str, ...] = ()
) -> Iterator[Metric]:
    """Each series of a table over all views; `keyed` gives with each view the values of the labels `keys`."""
    views = list(keyed)
    for series in table:
        family_of = CounterMetricFamily if series.kind == "counter" else GaugeMetricFamily
        family = family_of(PREFIX + series.name, series.help, labels=[*keys, *series.labels])
        for key, view in views:
            for labels, value in series.read(view):
                if value is not None:
                    family.add_metric([*key, *labels], float(value))
        yield family
