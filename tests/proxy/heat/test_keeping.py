"""The units' J/TH over restarts: of units that still are, of the same model, and not for ever."""

from typing import Any

import pytest

from proxy.events import EventLog
from proxy.heat.keeping import FACTORS, FACTORS_AGE_S, keep_factors, recall_factors
from proxy.heat.proof import MOST_FACTOR, Curve, Learned
from proxy.ledger.records import MemoryRecord

CURVE = Curve(((0.0, 15.0), (1e14, 3_000.0)))
OTHER = Curve(((0.0, 15.0), (1e14, 3_100.0)))
NOW = 1_768_435_200.0


class Shelf:
    """A ledger's memories."""

    def __init__(self) -> None:
        self.kept: dict[str, MemoryRecord] = {}

    def record_memory(self, record: MemoryRecord) -> bool:
        self.kept[record.name] = record
        return True

    def memories(self) -> dict[str, MemoryRecord]:
        return self.kept


def recalled(shelf: Shelf, curves: dict[str, Curve], after_s: float = 60.0) -> tuple[dict[str, Learned], list[Any]]:
    events = EventLog(lambda: NOW)
    found = recall_factors(shelf, curves, events, lambda: NOW + after_s)
    return found, [event.facts["reason"] for event in events.since(0)]


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    learned = {"u0": Learned(1.04, 40_000.0), "u1": Learned(0.97, 900.0), "stranger": Learned()}
    keep_factors(shelf, {"u0": CURVE, "u1": CURVE}, learned, NOW)
    return shelf


def test_a_factor_is_known_again_with_how_long_it_was_watched(shelf: Shelf) -> None:
    found, ignored = recalled(shelf, {"u0": CURVE, "u1": CURVE})
    assert {unit: (known.factor, known.watched_s, known.is_settled) for unit, known in found.items()} == {
        "u0": (1.04, 40_000.0, True),
        "u1": (0.97, 900.0, False),
    }
    assert ignored == []


def test_a_unit_that_is_gone_or_of_another_model_begins_anew(shelf: Shelf) -> None:
    found, ignored = recalled(shelf, {"u0": OTHER, "u2": CURVE})
    assert found == {}
    assert ignored == ["J/TH of 2 units: gone, or another model"]


def test_factors_that_are_old_or_unreadable_are_ignored_and_that_is_said(shelf: Shelf) -> None:
    assert recalled(shelf, {"u0": CURVE}, FACTORS_AGE_S + 1) == ({}, ["the units' J/TH are 30 days old"])
    shelf.kept[FACTORS] = MemoryRecord(FACTORS, NOW, 1, '{"u0": 1}')
    assert recalled(shelf, {"u0": CURVE}) == ({}, ["the units' J/TH cannot be read"])
    assert recalled(Shelf(), {"u0": CURVE}) == ({}, [])


def test_no_kept_factor_is_further_off_than_one_that_can_be_learned(shelf: Shelf) -> None:
    record = shelf.kept[FACTORS]
    shelf.kept[FACTORS] = MemoryRecord(FACTORS, NOW, record.version, record.body.replace("1.04", "9.5"))
    assert recalled(shelf, {"u0": CURVE, "u1": CURVE})[0]["u0"].factor == MOST_FACTOR
