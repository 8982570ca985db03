"""The fleet over simulated machines: what is commanded, what is proven, and where every fault ends."""

import pytest
import trio

from proxy import config, descriptors
from proxy.units import fleet
from proxy.units.unit import UnitState


async def test_on_start_units_are_adopted_as_they_are_and_nothing_is_sent(autojump_clock, site, model):
    device = site.add("u1", model, level=2)
    asleep = site.add("u2", model, level=0)
    await site.start(model)
    assert site.image("u1").level_commanded == 2
    assert site.image("u1").state is UnitState.RUN
    assert site.image("u2").level_commanded == 0
    assert site.image("u2").state is UnitState.SLEEPING
    assert not device.writes
    assert not asleep.writes
    assert sorted(site.announced) == [("u1", 367.2e12), ("u2", 0.0)]


async def test_a_level_is_sent_read_back_and_reached(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    assert site.command(1) is None
    assert site.image().level_commanded == 1
    await trio.sleep(0.1)
    assert site.image().state is UnitState.RAMPING
    assert site.announced[-1] == ("u1", 297.6e12)
    image = await site.until(UnitState.RUN)
    assert image.level_observed == 1
    assert list(device.writes) == ["worklevel,set,-1"]
    assert image.changed_at_s is not None
    assert image.earliest_change_s == pytest.approx(image.changed_at_s + 300)
    await trio.sleep(300)
    assert device.power_w == pytest.approx(4_435, rel=0.07)
    assert site.image().power_w == pytest.approx(device.power_w, abs=1)


async def test_sleep_is_proven_and_wake_leads_back_to_the_level(autojump_clock, site, make_model):
    model = make_model(min_off_s=0, min_on_s=0, min_dwell_s=0)
    device = site.add("u1", model)
    await site.start(model)
    assert site.command(0) is None
    await trio.sleep(3)
    assert site.image().state is UnitState.RAMPING
    assert site.image().level_observed == 4  # the moment it was asked for has not come
    image = await site.until(UnitState.SLEEPING)
    assert image.level_observed == 0
    assert site.announced[-1] == ("u1", 0.0)
    assert device.writes[0].startswith("softoff,1:")

    assert site.command(2) is None
    await site.until(UnitState.WAKING)
    assert site.announced[-1] == ("u1", 367.2e12)
    image = await site.until(UnitState.RUN)
    assert image.level_observed == 2
    assert image.starts_today == 1
    assert [write.split(":")[0] for write in device.writes] == ["softoff,1", "worklevel,set,0", "softon,1"]


async def test_old_machines_sleep_without_a_moment_and_wake_by_a_reboot(autojump_clock, site, make_model):
    model = make_model(wake="reboot", setting_command="workmode", change_reboots=True, min_off_s=0, min_on_s=0, min_dwell_s=0)
    device = site.add("u1", model)
    await site.start(model)
    site.command(0)
    await site.until(UnitState.SLEEPING)
    site.command(3)
    await site.until(UnitState.WAKING)
    await trio.sleep(100)
    assert site.image().state is UnitState.WAKING  # silent while it reboots, and that is no loss of contact
    image = await site.until(UnitState.RUN)
    assert image.level_observed == 3
    assert list(device.writes) == ["softoff", "workmode,1", "reboot,1"]

    site.command(2)
    await trio.sleep(60)
    image = await site.until(UnitState.RUN)
    assert image.level_observed == 2
    assert list(device.writes)[3:] == ["workmode,0", "reboot,0"]


async def test_the_units_own_clock_dates_its_sleep(autojump_clock, site, model):
    device = site.add("u1", model)
    device.clock_skew_s = -1.7e9  # it never met a time server
    await site.start(model)
    site.command(0)
    await site.until(UnitState.SLEEPING)
    assert len(device.writes) == 1


async def test_repeating_a_level_sends_nothing(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    assert site.command(4) is None
    assert site.command(3) is None
    await site.until(UnitState.RUN)
    assert site.command(3) is None
    await trio.sleep(600)
    assert list(device.writes) == ["worklevel,set,1"]


async def test_the_newest_command_replaces_a_waiting_one(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model, config.Heat(commands_per_s=0.5))
    site.command(3)
    site.command(2)
    site.command(1)
    await trio.sleep(60)
    assert list(device.writes) == ["worklevel,set,-1"]


async def test_dwell_refuses_and_urgent_lowering_does_not_care(autojump_clock, site, model):
    site.add("u1", model)
    await site.start(model)
    assert site.command(2) is None
    await trio.sleep(30)
    assert "changed lately" in site.command(3)
    assert "only lowers" in site.command(3, urgent=True)
    assert site.command(0, urgent=True) is None
    await site.until(UnitState.SLEEPING)
    await trio.sleep(100)
    assert "changed lately" in site.command(1)
    await trio.sleep(900)
    assert site.command(1) is None
    await site.until(UnitState.RUN)
    await trio.sleep(400)
    assert "changed lately" in site.command(0)  # not on for half an hour yet
    assert site.image().earliest_sleep_s > trio.current_time()
    assert site.command(2) is None


async def test_starts_a_day_are_limited(autojump_clock, site, make_model):
    model = make_model(min_off_s=0, min_on_s=0, min_dwell_s=0, max_starts_per_day=2)
    site.add("u1", model, level=0)
    await site.start(model)
    for _ in range(2):
        assert site.command(1) is None
        await site.until(UnitState.RUN)
        assert site.command(0) is None
        await site.until(UnitState.SLEEPING)
    assert "started 2 times" in site.command(1)
    autojump_clock.jump(86_400)
    await trio.sleep(30)
    assert site.command(1) is None


async def test_a_lost_answer_is_read_back_and_never_repeated(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.lost_answers = 1
    site.command(2)
    await site.until(UnitState.RAMPING, within_s=5)
    image = await site.until(UnitState.RUN)
    await trio.sleep(300)
    assert image.level_observed == 2
    assert list(device.writes) == ["worklevel,set,0"]
    assert "unit.answer_lost" in site.names()


async def test_a_lost_request_is_sent_again_after_the_reading_shows_no_effect(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.lost_requests = 1
    site.command(2)
    await trio.sleep(25)
    assert site.image().state is UnitState.RAMPING
    assert not device.writes
    await site.until(UnitState.RUN)
    assert list(device.writes) == ["worklevel,set,0"]


async def test_ok_without_effect_ends_in_a_fault_after_two_tries(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.no_effect = True
    site.command(2)
    image = await site.until(UnitState.FAULT)
    assert list(device.writes) == ["worklevel,set,0"] * 2
    assert "it said OK, but it is not on level 2" in image.fault
    assert "Tried 2 times" in image.fault
    assert site.announced[-1] == ("u1", 480e12)  # the truth
    assert not image.may_command
    assert site.command(3) == image.fault
    await trio.sleep(120)
    assert len(device.writes) == 2


async def test_sleep_without_effect_is_a_fault_too_and_urgency_tries_again(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.no_effect = True
    site.command(0)
    image = await site.until(UnitState.FAULT)
    assert "not asleep" in image.fault
    device.faults.no_effect = False
    assert site.command(0, urgent=True) is None
    await site.until(UnitState.SLEEPING)
    assert "unit.fault_cleared" in site.names()


async def test_a_fault_gets_another_chance_after_a_rest(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.no_effect = True
    site.command(2)
    await site.until(UnitState.FAULT)
    await site.until(UnitState.RUN, within_s=1_000)
    assert site.image().level_commanded == 4


async def test_an_operator_clears_a_fault(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.no_effect = True
    site.command(2)
    await site.until(UnitState.FAULT)
    assert site.fleet.clear_fault("u1") is None
    await trio.sleep(1)
    assert site.image().state is UnitState.RUN
    assert site.image().level_commanded == 4


async def test_a_wake_without_effect_is_a_fault(autojump_clock, site, make_model):
    model = make_model(min_off_s=0)
    device = site.add("u1", model, level=0)
    await site.start(model)
    device.faults.no_effect = True
    site.command(1)
    image = await site.until(UnitState.FAULT)
    assert "did not wake" in image.fault
    assert image.starts_today == 1


async def test_a_refusal_is_tried_twice_and_tells_what_the_machine_said(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.refuses = "worklevel unknown argument"
    site.command(2)
    image = await site.until(UnitState.FAULT)
    assert "unknown argument" in image.fault
    assert len(device.writes) == 2


async def test_a_calibrating_machine_is_asked_again_until_it_lets_us(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.calibrating = True
    site.command(2)
    await site.until(UnitState.CALIBRATING)
    await trio.sleep(600)
    assert site.image().state is UnitState.CALIBRATING
    assert 8 <= len(device.writes) <= 12
    device.faults.calibrating = False
    image = await site.until(UnitState.RUN)
    assert image.level_observed == 2


async def test_a_model_that_does_not_fit_the_firmware_is_said_so_without_sending(autojump_clock, site, model, make_model):
    device = site.add("u1", model)
    await site.start(make_model(setting_command="workmode"))
    assert site.image().level_observed == 4  # by its power
    site.command(2)
    image = await site.until(UnitState.FAULT)
    assert "no workmode" in image.fault
    assert "[models.m]" in image.fault
    assert not device.writes


async def test_a_dead_unit_is_offline_and_nothing_about_it_is_believed(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.is_dead = True
    image = await site.until(UnitState.OFFLINE, within_s=100)
    assert (image.power_w, image.outlet_c, image.level_observed, image.hashrate_reported_hps) == (None,) * 4
    assert "silent" in image.fault
    assert "silent" in site.command(2)
    device.faults.is_dead = False
    await site.until(UnitState.RUN, within_s=30)


async def test_what_a_unit_does_after_an_absence_is_adopted_unless_it_is_more_than_it_was_told(autojump_clock, site, model):
    less, more = site.add("u1", model), site.add("u2", model, level=2)
    await site.start(model)
    less.faults.is_dead = more.faults.is_dead = True
    await site.until(UnitState.OFFLINE, "u1", 100)
    await site.until(UnitState.OFFLINE, "u2", 100)
    less.change_setting(0)
    more.change_setting(2)
    less.faults.is_dead = more.faults.is_dead = False
    await trio.sleep(60)
    assert site.image("u1").level_commanded == 2
    assert not less.writes
    assert site.image("u2").level_commanded == 2
    assert list(more.writes) == ["worklevel,set,0"]
    assert {"unit.adopted", "unit.strayed"} <= set(site.names())


async def test_a_unit_that_somebody_else_keeps_raising_ends_in_a_fault(autojump_clock, site, model):
    device = site.add("u1", model, level=1)
    await site.start(model)
    with trio.fail_after(600):
        while site.image().state is not UnitState.FAULT:
            device.change_setting(2)
            await trio.sleep(20)
    assert "by itself" in site.image().fault


async def test_urgent_sleep_reaches_a_unit_as_soon_as_it_is_back(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    del site.devices["10.0.0.1"]
    await site.until(UnitState.OFFLINE, within_s=100)
    assert site.command(0, urgent=True) is None
    await trio.sleep(100)
    site.devices["10.0.0.1"] = device
    await site.until(UnitState.SLEEPING, within_s=120)


@pytest.mark.parametrize(
    "nonsense",
    ["not_json", "huge", "half", "no_nul", "empty", "wrong_code", "negative", "nan", "absurd", "other_modules"],
)
async def test_nonsense_is_unknown_and_never_a_number(autojump_clock, site, model, nonsense):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.nonsense = nonsense
    image = await site.until(UnitState.OFFLINE, within_s=100)
    assert (image.power_w, image.chip_c, image.level_observed) == (None, None, None)
    assert image.fault
    device.faults.nonsense = None
    await site.until(UnitState.RUN, within_s=30)


async def test_a_device_without_sensors_has_no_temperatures_and_runs(autojump_clock, site, model):
    device = site.add("u1", model)
    device.faults.no_sensors = True
    await site.start(model)
    image = site.image()
    assert image.state is UnitState.RUN
    assert (image.inlet_c, image.outlet_c, image.chip_c) == (None, None, None)


async def test_telemetry_that_stands_still_is_no_telemetry(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.frozen = True
    image = await site.until(UnitState.OFFLINE, within_s=150)
    assert "stands still" in image.fault
    device.faults.frozen = False
    await site.until(UnitState.RUN, within_s=30)


async def test_a_unit_without_work_is_idle_after_its_restart_and_says_why(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    device.faults.no_work = True
    await trio.sleep(500)
    assert site.image().state is UnitState.RUN  # on its last job
    await site.until(UnitState.IDLE, within_s=600)
    await trio.sleep(300)  # its restart
    assert "none of its pools" in site.image().fault
    device.faults.no_work = False
    await site.until(UnitState.RUN, within_s=600)


async def test_a_swapped_machine_is_locked_out_until_it_is_accepted(autojump_clock, site, model):
    device = site.add("u1", model, serial="020100000000aaaa")
    site.add("u2", model, serial="020100000000bbbb")
    await site.start(model)
    device.serial = "020100000000bbbb"
    image = await site.until(UnitState.LOCKED_OUT, within_s=60)
    assert "020100000000bbbb, which is unit u2" in image.fault
    assert "accept" in image.fault
    assert site.command(0, urgent=True) == image.fault
    await trio.sleep(60)
    assert not device.writes
    assert site.fleet.accept_serial("u1") is None
    await site.until(UnitState.RUN, within_s=5)
    assert site.command(2) is None


async def test_a_machine_put_back_needs_no_word(autojump_clock, site, model):
    device = site.add("u1", model, serial="aa")
    await site.start(model)
    device.serial = "bb"
    await site.until(UnitState.LOCKED_OUT, within_s=60)
    device.serial = "aa"
    await site.until(UnitState.RUN, within_s=60)


async def test_a_wrong_serial_at_first_contact_is_never_commanded(autojump_clock, site, model):
    device = site.add("u1", model, serial="cccc")
    site.units[0] = config.Unit(id="u1", address="10.0.0.1", model="m", loop="north", serial="AAAA")
    await site.start(model)
    assert site.image().state is UnitState.LOCKED_OUT
    assert site.image().level_commanded is None
    assert not device.writes


async def test_learned_serials_survive_a_restart(autojump_clock, site, model, tmp_path, nursery):
    path = tmp_path / "serials.json"
    device = site.add("u1", model, serial="aaaa")
    first = await site.start(model, serials_path=path)
    await first.stop()
    device.serial = "bbbb"
    await site.start(model, serials_path=path)
    assert site.image().state is UnitState.LOCKED_OUT


async def test_a_unit_in_service_is_never_touched_and_comes_back_as_it_is(autojump_clock, site, model):
    device = site.add("u1", model)
    await site.start(model)
    site.command(3)
    assert site.fleet.set_service("u1", True, "new hose") is None
    assert site.image().state is UnitState.SERVICE
    assert "in service" in site.command(0, urgent=True)
    device.change_setting(0)
    await trio.sleep(120)
    assert site.image().state is UnitState.SERVICE
    assert site.image().power_w is not None  # watched all the same
    assert site.fleet.set_service("u1", False, "") is None
    await trio.sleep(1)
    assert site.image().level_commanded == 2
    assert "worklevel,set,1" not in list(device.writes)[1:]


async def test_a_unit_configured_in_service_stays_out(autojump_clock, site, model):
    device = site.add("u1", model, in_service=True)
    await site.start(model)
    assert site.image().state is UnitState.SERVICE
    assert not site.image().may_command
    assert not device.writes


async def test_nothing_is_commanded_before_every_unit_was_asked_once(autojump_clock, site, model):
    site.add("u1", model)
    site.add("u2", model).faults.is_dead = True
    await site.start(model)
    assert not site.fleet.swept_all
    assert "first sweep" in site.command(2)
    assert not site.image().may_command
    await trio.sleep(5)
    assert site.fleet.swept_all
    assert site.command(2) is None


async def test_watching_without_heat_control_commands_nothing(autojump_clock, site, model):
    device = site.add("u1", model, level=1)
    await site.start(model, config.Heat(enabled=False))
    device.change_setting(2)  # somebody else's business
    await trio.sleep(60)
    assert site.image().level_observed == 4
    assert not device.writes
    assert site.announced[-1] == ("u1", 480e12)
    assert "heat control is off" in site.command(0, urgent=True)
    assert "heat control is off" in site.command(2)
    assert site.image().power_w is not None
    assert not site.image().may_command


async def test_impossible_commands_are_refused_in_words(autojump_clock, site, model):
    site.add("u1", model)
    await site.start(model)
    assert "levels 0 to 4" in site.command(5)
    assert "levels 0 to 4" in site.command(-1)
    assert site.command(1, "nobody") == "no unit nobody"
    assert site.fleet.set_service("nobody", True, "") == "no unit nobody"
    assert site.fleet.accept_serial("nobody") == "no unit nobody"


async def test_an_emergency_does_not_queue_behind_the_command_rate(autojump_clock, site, model):
    for index in range(60):
        site.add(f"u{index}", model)
    await site.start(model, config.Heat(commands_per_s=1))
    for unit in site.units:
        assert site.command(3, unit.id) is None
    await trio.sleep(1)
    for unit in site.units:
        assert site.command(0, unit.id, urgent=True) is None
    await trio.sleep(0.5)
    assert all(device.writes and device.writes[-1].startswith("softoff") for device in site.devices.values())


async def test_an_emergency_reaches_those_that_answer_past_those_that_do_not(autojump_clock, site, model, monkeypatch):
    monkeypatch.setattr(fleet, "BROADCAST_IN_FLIGHT", 2)
    for index in range(20):
        site.add(f"u{index}", model).faults.is_dead = index < 10
    await site.start(model)
    await trio.sleep(30)  # by then it is known who answers
    for unit in site.units:
        assert site.command(0, unit.id, urgent=True) is None
    await trio.sleep(0.5)
    assert [len(device.writes) for device in site.devices.values()] == [0] * 10 + [1] * 10


async def test_readings_give_way_to_commands_that_wait_but_not_for_long(autojump_clock, site, model, monkeypatch):
    monkeypatch.setattr(fleet, "BROADCAST_IN_FLIGHT", 1)
    for index in range(4):
        site.add(f"u{index}", model)
    await site.start(model, config.Heat(telemetry_period_s=60))
    for device in list(site.devices.values())[1:]:
        device.faults.is_dead = True  # each holds the only place for 4 s
    began_s = trio.current_time()
    for unit in site.units:
        assert site.command(0, unit.id, urgent=True) is None
        await trio.sleep(0)
    life = site.fleet._lives["u0"]
    await trio.sleep(6.5)
    assert life.reading.at_s < began_s  # its read-back was due after 2 s
    await trio.sleep(1)
    assert life.reading.at_s == pytest.approx(began_s + 7, abs=0.2)


async def test_machines_that_are_silent_do_not_hold_up_the_sweep_of_the_others(autojump_clock, site, model, monkeypatch):
    monkeypatch.setattr(fleet, "SWEEP_IN_FLIGHT", 2)
    for index in range(30):
        site.add(f"u{index}", model).faults.is_dead = index < 20
    await site.start(model)
    await trio.sleep(60)
    for _ in range(60):
        await trio.sleep(1)
        ages_s = [view.reading_age_s for view in site.fleet.views(trio.current_time())[20:]]
        assert max(age_s for age_s in ages_s if age_s is not None) < 17


async def test_the_readings_of_a_fleet_lie_evenly_over_the_period(autojump_clock, site, model):
    for index in range(10):
        site.add(f"u{index}", model)
    await site.start(model, config.Heat(telemetry_period_s=10))
    await trio.sleep(60)
    ages_s = sorted(view.reading_age_s for view in site.fleet.views(trio.current_time()))
    assert ages_s == pytest.approx([ages_s[0] + index for index in range(10)], abs=0.1)


def test_enough_descriptors_are_kept_back_for_all_that_is_in_flight():
    assert descriptors.UNITS_IN_FLIGHT == 2 * (fleet.SWEEP_IN_FLIGHT + fleet.BROADCAST_IN_FLIGHT)


async def test_the_command_rate_holds_for_the_whole_fleet(autojump_clock, site, model):
    for index in range(40):
        site.add(f"u{index}", model)
    await site.start(model, config.Heat(commands_per_s=4))
    for unit in site.units:
        site.command(3, unit.id)
    await trio.sleep(5)
    written = sum(len(device.writes) for device in site.devices.values())
    assert 18 <= written <= 22


@pytest.mark.slow
async def test_a_hundred_units_half_of_them_dead_are_swept_and_obey(autojump_clock, site, model):
    for index in range(100):
        site.add(f"u{index}", model).faults.is_dead = index % 2 == 1
    await site.start(model)
    await trio.sleep(15)
    assert site.fleet.swept_all
    taken = [site.command(2, unit.id) is None for unit in site.units]
    assert taken == [index % 2 == 0 for index in range(100)]
    await trio.sleep(300)
    states = [image.state for image in site.fleet.image(trio.current_time())]
    assert states == [UnitState.RUN, UnitState.OFFLINE] * 50
    confirmed_w = sum(image.power_w for image in site.fleet.image(trio.current_time()) if image.power_w is not None)
    assert confirmed_w == pytest.approx(50 * 5_645, rel=0.05)  # what does not answer is not counted


async def test_a_bug_in_one_unit_is_told_and_ends_nobody(autojump_clock, site, model):
    site.add("u1", model)
    site.add("u2", model)
    await site.start(model)
    site.fleet._lives["u1"].saw = None  # type: ignore[assignment]
    await trio.sleep(40)
    assert "unit.bug" in site.names()
    assert site.image("u2").state is UnitState.RUN
    assert site.command(3, "u2") is None
    await site.until(UnitState.RAMPING, "u2", 5)


async def test_views_say_what_was_asked_and_what_is(autojump_clock, site, model):
    site.add("u1", model, serial="aa")
    await site.start(model)
    site.command(2)
    view = site.fleet.views(trio.current_time())[0]
    assert (view.id, view.serial, view.level_commanded, view.level_observed) == ("u1", "aa", 2, 4)
    assert view.power_commanded_w == 5_645
    assert view.hashrate_expected_hps == 367.2e12
    assert view.reading_age_s == pytest.approx(1, abs=0.1)
    assert (view.connected, view.accepted, view.difficulty) == (False, 0, None)
