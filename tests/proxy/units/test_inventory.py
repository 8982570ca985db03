"""Who is who: by worker name, by address, and when the two disagree."""

import pytest

from proxy import config
from proxy.events import EventLog
from proxy.units.inventory import MAX_CONFLICTS, Inventory, spread_over_loops


def unit(unit_id, address, worker=None):
    return config.Unit(id=unit_id, address=address, model="m", loop="north", worker=worker)


@pytest.fixture
def events():
    return EventLog(lambda: 0.0)


@pytest.fixture
def inventory(events):
    return Inventory([unit("a1", "10.0.0.1"), unit("a2", "10.0.0.2", "Rig.Two"), unit("a3", "10.0.0.3", "Heater")], events)


@pytest.mark.parametrize(
    ("worker", "expected"),
    [
        ("a1", "a1"),
        (" a1 ", "a1"),
        ("account.a1", "a1"),
        ("account.sub.a1", "a1"),
        ("account.Rig.Two", "a2"),
        ("account.rig.two", "a2"),
        ("HEATER", "a3"),
        ("a2", None),  # its worker name is another
        ("a9", None),
        ("", None),
        ("...", None),
        ("a1.extra", None),
    ],
)
def test_a_worker_name_finds_its_unit(inventory, worker, expected):
    assert inventory.by_worker(worker) == expected


def test_names_that_differ_only_in_case_are_told_apart_exactly_or_not_at_all(events):
    inventory = Inventory([unit("a1", "1", "Rig"), unit("a2", "2", "rig")], events)
    assert inventory.by_worker("Rig") == "a1"
    assert inventory.by_worker("pool.rig") == "a2"
    assert inventory.by_worker("RIG") is None


def test_an_address_of_several_units_identifies_none(events):
    inventory = Inventory([unit("a1", "127.0.0.1"), unit("a2", "127.0.0.1"), unit("a3", "10.0.0.3")], events)
    assert inventory.by_address("127.0.0.1") is None
    assert inventory.match("a2", "127.0.0.1") == "a2"
    assert not events.since(0)


def test_name_and_address_each_suffice_alone(inventory, events):
    assert inventory.match("account.a1", "192.168.7.7") == "a1"
    assert inventory.match("somebody", "10.0.0.3") == "a3"
    assert inventory.match("somebody", "192.168.7.7") is None
    assert inventory.match("a1", "10.0.0.1") == "a1"
    assert not events.since(0)


def test_where_they_disagree_the_address_wins_and_it_is_said_once(inventory, events):
    for _ in range(3):
        assert inventory.match("account.a1", "10.0.0.3") == "a3"
    (event,) = events.since(0)
    assert event.name == "unit.identity_conflict"
    assert event.facts["unit"] == "a3"
    assert event.facts["worker_of"] == "a1"
    assert "set the worker name" in event.facts["remedy"]


def test_conflicts_remembered_are_bounded(events):
    units = [unit(f"u{n}", f"10.0.{n // 200}.{n % 200}") for n in range(40)]
    inventory = Inventory(units, events)
    for one in units:
        for other in units:
            inventory.match(one.id, other.address)
    assert len(inventory._conflicts) == MAX_CONFLICTS


LONG = "account-of-a-very-large-holding.heat-division.northern-city"  # 59 characters


@pytest.fixture
def cutting(events):
    """Firmware that keeps 63 characters of a worker name."""
    model = config.Model(levels=[config.Level(name="full", power_w=1, hashrate_hps=1)])
    units = [unit("L1-07", "1"), unit("L1-17", "2"), unit("m2", "3", "Hall-2.Rack-9")]
    return Inventory(units, events, {"m": model})


@pytest.mark.parametrize(
    ("worker", "expected"),
    [
        (f"{LONG}.L1-0", None),  # 64 characters: this firmware would have cut it
        (f"{LONG}.L1-"[:63], None),  # two units begin so
        (f"x{LONG[2:]}.L1-07"[:63], "L1-07"),
        (f"x{LONG[2:]}.l1-1", "L1-17"),
        (f"{LONG}.Hall-2.Rack-9"[:63], "m2"),
        (f"{LONG}.L2-"[:63], None),
        (f"{LONG}...."[:63], None),
        ("L1-0", None),  # far from its limit: somebody else's name
    ],
)
def test_a_name_that_the_firmware_cut_still_finds_its_unit_if_only_one_begins_so(cutting, worker, expected):
    assert cutting.match(worker, "192.168.7.7") == expected


def test_it_lists_its_units(inventory):
    assert len(inventory) == 3
    assert [one.id for one in inventory.units()] == ["a1", "a2", "a3"]
    assert inventory.by_id("a2").worker == "Rig.Two"
    assert inventory.by_id("zz") is None


@pytest.mark.parametrize("part", [0.25, 0.5, 0.75])
def test_any_stretch_of_the_fleet_takes_its_part_of_every_loop(part: float) -> None:
    sizes = {"a": 40, "b": 12, "c": 4}
    units = [
        config.Unit(id=f"{loop}{k}", address=f"10.0.{ord(loop)}.{k}", model="m", loop=loop)
        for loop, size in sizes.items()
        for k in range(size)
    ]
    order = spread_over_loops(units)
    assert sorted(order) == sorted(unit.id for unit in units)
    first = order[: round(part * len(order))]
    for loop, size in sizes.items():
        assert abs(sum(unit_id[0] == loop for unit_id in first) - part * size) <= 1
