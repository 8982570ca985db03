"""Which units are to get no work: those that were told to sleep, do not, and are known to be safe without."""

import pytest
import trio

from proxy import config
from proxy.units.unit import UnitState

SAFE = config.WithoutWork(behaviour="idles", power_w=40.0, idle_after_s=8.0, resume_s=60.0)


async def told_to_sleep(site, model, **faults):
    device = site.add("u1", model)
    await site.start(model)
    for name, value in faults.items():
        setattr(device.faults, name, value)
    site.command(0, urgent=True)
    return device


@pytest.mark.parametrize("faults", [{"no_effect": True}, {"refuses": "not now"}])
async def test_a_unit_that_does_not_obey_a_command_to_sleep_is_starved_and_says_so(faults, autojump_clock, site, make_model):
    device = await told_to_sleep(site, make_model(may_starve=True, without_work=SAFE), **faults)
    assert site.fleet.starved() == frozenset()
    image = await site.until(UnitState.FAULT)
    assert site.fleet.starved() == {"u1"}
    assert image.fault.endswith("Its work is withheld until it obeys")
    device.faults.no_effect, device.faults.refuses = False, None
    site.command(0, urgent=True)
    image = await site.until(UnitState.SLEEPING)
    assert (site.fleet.starved(), image.fault) == (frozenset(), None)


async def test_a_unit_that_cannot_be_asked_any_more_is_starved_until_it_answers(autojump_clock, site, make_model):
    device = await told_to_sleep(site, make_model(may_starve=True, without_work=SAFE), is_gone=True)
    image = await site.until(UnitState.OFFLINE)
    assert site.fleet.starved() == {"u1"}
    assert "work is withheld" in image.fault
    device.faults.is_gone = False
    await site.until(UnitState.SLEEPING)
    assert site.fleet.starved() == frozenset()


async def test_other_models_faults_and_sites_that_only_watch_starve_nobody(autojump_clock, site, make_model):
    await told_to_sleep(site, make_model(), no_effect=True)
    image = await site.until(UnitState.FAULT)
    assert site.fleet.starved() == frozenset()
    assert "withheld" not in image.fault


async def test_disobeying_another_level_than_sleep_costs_no_work(autojump_clock, site, make_model):
    device = site.add("u1", make_model(may_starve=True, without_work=SAFE))
    await site.start(make_model(may_starve=True, without_work=SAFE))
    device.faults.no_effect = True
    site.command(2)
    await site.until(UnitState.FAULT)
    assert site.fleet.starved() == frozenset()


async def test_after_its_rest_a_fault_gets_its_work_back_with_its_next_chance(autojump_clock, site, make_model):
    await told_to_sleep(site, make_model(may_starve=True, without_work=SAFE), no_effect=True)
    await site.until(UnitState.FAULT)
    await site.until(UnitState.RUN, within_s=1_000)
    assert site.fleet.starved() == frozenset()


async def test_where_units_are_only_watched_nobody_starves(autojump_clock, site, make_model):
    model = make_model(may_starve=True, without_work=SAFE)
    site.add("u1", model, level=0)
    await site.start(model, config.Heat(enabled=False))
    await trio.sleep(60)
    site.devices["10.0.0.1"].faults.is_gone = True
    await site.until(UnitState.OFFLINE)
    assert site.fleet.starved() == frozenset()


async def test_a_unit_in_service_is_kept_from_work_on_trial_until_the_lease_ends(autojump_clock, site, model):
    site.add("u1", model)
    await site.start(model)
    assert "take it out for service" in site.fleet.withhold("u1", 60.0)
    assert site.fleet.withhold("nobody", 60.0) == "no unit nobody"
    site.fleet.set_service("u1", True, "recording")
    assert site.fleet.withhold("u1", 60.0) is None
    await trio.sleep(50)
    assert site.fleet.starved() == {"u1"}
    assert site.fleet.withhold("u1", 60.0) is None  # goes on
    await trio.sleep(50)
    assert site.fleet.starved() == {"u1"}
    await trio.sleep(11)
    assert site.fleet.starved() == frozenset()


async def test_a_trial_ends_when_work_is_given_back_or_the_unit_is_put_back(autojump_clock, site, model):
    site.add("u1", model)
    await site.start(model)
    site.fleet.set_service("u1", True, "recording")
    for end in (lambda: site.fleet.withhold("u1", None), lambda: site.fleet.set_service("u1", False, "")):
        assert site.fleet.withhold("u1", 300.0) is None
        assert site.fleet.starved() == {"u1"}
        assert end() is None
        assert site.fleet.starved() == frozenset()
