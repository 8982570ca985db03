"""Each newer vendor family through the fleet, over real loopback sockets: from the first sweep to levels, sleep and waking that are
proven, and where the faults that belong to one family end.
"""

import random

import msgspec
import pytest
import trio

from proxy import config
from proxy.events import EventLog
from proxy.sim.device import CLOCK_BASE_UNIX_S, SimDeviceSpec, SimFaults
from proxy.units.fleet import Fleet
from proxy.units.unit import UnitState
from tests.support.machines import AXEOS, BRAIINS, FAMILIES, LUXOS, OTHERS, WHATSMINER

other_families = pytest.mark.parametrize("family", OTHERS, ids=lambda family: family.name)
QUICK = {"settle_s": 30.0, "wake_s": 40.0, "min_dwell_s": 0.0, "min_off_s": 0.0, "min_on_s": 0.0}
# Machines answer in real time: the clock jumps when nobody had anything to say for so long.
STILL_S = 0.0005


class OneUnit:
    """A machine on a port, and a fleet of it."""

    def __init__(self, family, nursery, clock, tmp_path, **more):
        clock.autojump_threshold = STILL_S
        spec = {key: more.pop(key) for key in ("change_reboots",) if key in more}
        self.model = msgspec.structs.replace(family.model, **QUICK, **spec)
        self.machine = family.device(SimDeviceSpec.from_model(self.model), random.Random(1), **more)
        self.nursery = nursery
        self.folder = tmp_path
        self.events = EventLog(lambda: CLOCK_BASE_UNIX_S + trio.current_time())

    async def start(self, password=None):
        """Once the first sweep is over."""
        port = await self.nursery.start(self._serve)
        account = {}
        if self.model.driver in ("whatsminer", "braiins"):
            file = self.folder / "password"
            file.write_text(self.machine.password if password is None else password)
            file.chmod(0o600)
            account = {"api_password_file": str(file)}
        unit = config.Unit(id="u1", address="127.0.0.1", model="m", loop="north", api_port=port, **account)
        heat = config.Heat(telemetry_period_s=5.0, telemetry_stale_s=20.0)
        self.fleet = Fleet(
            [unit], {"m": self.model}, heat, self.events, wall_clock=lambda: CLOCK_BASE_UNIX_S + trio.current_time() + 7.0
        )
        await self.nursery.start(self.fleet.run)
        await self.until(lambda: self.fleet.swept_all, 20)

    async def _serve(self, task_status):
        await self.machine.serve("127.0.0.1", 0, clock=trio.current_time, task_status=task_status)

    @property
    def image(self):
        return self.fleet.image(trio.current_time())[0]

    def tell(self, level, **more):
        assert self.fleet.command("u1", level, "test", trio.current_time(), **more) is None

    async def until(self, is_so, within_s=300.0):
        with trio.fail_after(within_s):
            while not is_so():
                await trio.sleep(0.5)
        return self.image

    async def until_settled_on(self, level, within_s=300.0):
        state = UnitState.RUN if level else UnitState.SLEEPING
        return await self.until(lambda: (self.image.state, self.image.level_observed) == (state, level), within_s)

    def names(self):
        return [event.name for event in self.events.since(0)]


@pytest.fixture
async def one(nursery, autojump_clock, tmp_path):
    """Only for tests that ask for `autojump_clock` themselves: their clock is the fixture the test names."""
    yield lambda family, **more: OneUnit(family, nursery, autojump_clock, tmp_path, **more)
    nursery.cancel_scope.cancel()


@other_families
async def test_from_the_first_look_to_a_level_sleep_and_waking_all_is_proven(autojump_clock, family, one):
    it = one(family)
    await it.start()
    assert (it.image.state, it.image.level_commanded, it.image.may_command) == (UnitState.RUN, 3, True)
    assert not it.machine.writes
    it.tell(1)
    image = await it.until_settled_on(1)
    await trio.sleep(60)
    assert it.image.power_w == pytest.approx(it.model.levels[0].power_w, rel=0.1)
    it.tell(0)
    image = await it.until_settled_on(0)
    assert image.power_w is None or image.power_w < 0.2 * it.model.levels[0].power_w
    assert not it.machine.is_running
    it.tell(2)
    image = await it.until_settled_on(2, 600)
    assert (image.starts_today, image.fault) == (1, None)
    assert it.machine.setting == it.model.levels[1].setting
    assert not {"unit.gave_up", "unit.bug", "unit.no_effect"} & set(it.names())


@other_families
async def test_a_machine_that_says_ok_and_does_nothing_is_told_twice_and_then_faulty(autojump_clock, family, one):
    it = one(family)
    await it.start()
    it.machine.faults.no_effect = True
    it.tell(0)
    image = await it.until(lambda: it.image.state is UnitState.FAULT)
    assert "it said OK, but it is not asleep" in image.fault
    assert len(it.machine.writes) == 2
    assert image.level_observed == 3  # what it does, not what it said


@other_families
async def test_a_machine_that_disobeyed_a_level_is_found_out_and_obeys_again_after_the_fault(autojump_clock, family, one):
    it = one(family)
    await it.start()
    it.machine.faults.no_effect = True
    it.tell(1)
    image = await it.until(lambda: it.image.state is UnitState.FAULT)
    assert "it is not on level 1: it says level 3" in image.fault
    it.machine.faults.no_effect = False
    assert it.fleet.clear_fault("u1") is None
    await it.until(lambda: it.image.state is UnitState.RUN)
    it.tell(1)
    await it.until_settled_on(1)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
async def test_whatever_went_wrong_it_follows_again_once_nothing_is_wrong(autojump_clock, family, one):
    it = one(family)
    await it.start()
    rng = random.Random(family.name)
    for _ in range(20):
        faults = it.machine.faults
        match rng.randrange(9):
            case 0:
                faults.lost_answers = rng.randrange(3)
            case 1:
                faults.lost_requests = rng.randrange(3)
            case 2:
                faults.no_effect = not faults.no_effect
            case 3:
                faults.refuses = None if faults.refuses else "no"
            case 4:
                faults.calibrating = not faults.calibrating
            case 5:
                faults.is_dead = not faults.is_dead
            case 6:
                faults.nonsense = rng.choice([None, "half", "not_json", "absurd", "nan", "empty"])
            case 7:
                faults.frozen = not faults.frozen
            case _:
                it.machine.reboot()
        it.fleet.command("u1", rng.randrange(4), "test", trio.current_time(), urgent=rng.random() < 0.3)
        await trio.sleep(rng.choice([0.3, 3.0, 20.0, 60.0]))
    it.machine.faults = SimFaults()
    await trio.sleep(60)
    assert it.fleet.clear_fault("u1") is None
    await it.until(lambda: it.image.state in (UnitState.RUN, UnitState.SLEEPING), 1_500)
    for level in (2, 0, 1):
        await it.until(lambda to=level: it.fleet.command("u1", to, "test", trio.current_time()) is None, 900)
        await it.until_settled_on(level, 1_500)
    assert "unit.bug" not in it.names()


# Whatsminer.


@pytest.mark.parametrize("form", ["text", "number"])
@pytest.mark.parametrize("is_silent", [False, True])
async def test_the_percentage_is_found_in_the_form_that_the_firmware_reads(autojump_clock, form, is_silent, one):
    it = one(WHATSMINER)
    it.machine.percent_as, it.machine.mistakes_form_silently = form, is_silent
    await it.start()
    it.tell(2)
    await it.until_settled_on(2)
    it.tell(1)
    await it.until_settled_on(1)
    # What was learned is kept: the second change needed one write.
    assert len(it.machine.writes) == (2 if form == "text" else 3)
    assert "unit.gave_up" not in it.names()


async def test_firmware_that_does_not_tell_its_percentage_is_known_by_its_power(autojump_clock, one):
    it = one(WHATSMINER)
    it.machine.tells_percent = False
    await it.start()
    it.tell(1)
    await it.until_settled_on(1)


async def test_a_whatsminer_wakes_on_all_it_has_tunes_itself_and_then_takes_its_level(autojump_clock, one):
    it = one(WHATSMINER, level=0)
    await it.start()
    assert it.image.state is UnitState.SLEEPING
    it.tell(1)
    seen = set()
    while (it.image.state, it.image.level_observed) != (UnitState.RUN, 1):
        seen.add((it.image.state, it.image.level_observed))
        await trio.sleep(0.5)
    assert (UnitState.CALIBRATING, 3) in seen
    assert [write.split(" ")[0] for write in it.machine.writes] == ["set.miner.service", "set.miner.power_percent"]


async def test_a_whatsminers_wrong_password_is_a_fault_with_its_remedy_after_two_tries(autojump_clock, one):
    it = one(WHATSMINER)
    await it.start(password="wrong")
    assert it.image.state is UnitState.RUN  # reading is open to all
    it.tell(0)
    image = await it.until(lambda: it.image.state is UnitState.FAULT)
    assert "api_password_file" in image.fault
    await trio.sleep(600)
    assert it.machine.refused_logins == 2


async def test_a_whatsminer_with_another_time_and_a_new_salt_takes_commands_all_the_same(autojump_clock, one):
    it = one(WHATSMINER)
    it.machine.clock_skew_s = -86_400.0
    await it.start()
    it.machine.salt = "another1"  # as after a new password; the reading that tells it is still to come
    it.tell(2)
    await it.until_settled_on(2)
    assert it.machine.refused_logins <= 1
    assert len(it.machine.writes) == 1


# Braiins OS.


async def test_a_token_that_ends_in_mid_flight_is_renewed_and_the_write_is_done_once(autojump_clock, one):
    it = one(BRAIINS)
    await it.start()
    it.machine.token = None
    it.tell(2)
    it.machine.token = None
    await it.until_settled_on(2)
    assert len(it.machine.writes) == 1
    assert it.machine.refused_logins == 0
    assert "unit.offline" not in it.names()


async def test_a_token_that_never_holds_costs_one_more_login_and_not_a_storm_of_them(autojump_clock, one):
    it = one(BRAIINS)
    await it.start()
    it.machine.forgets_tokens = True
    before = it.machine.tokens_issued
    image = await it.until(lambda: it.image.state is UnitState.OFFLINE)
    assert "refuses /miner/details" in image.fault
    await trio.sleep(100)
    assert it.machine.tokens_issued - before <= 30  # one a look, each 5 s


async def test_a_braiins_wrong_password_is_said_with_its_remedy_and_rarely_tried_again(autojump_clock, one):
    it = one(BRAIINS)
    await it.start(password="wrong")
    image = it.image
    assert (image.state, image.may_command) == (UnitState.OFFLINE, False)
    assert "api_password_file" in image.fault
    await trio.sleep(3_600)
    assert it.machine.refused_logins <= 8  # the machine must not lock the account
    assert "api_password_file" in it.image.fault


async def test_a_password_that_is_put_right_on_the_machine_is_found_within_minutes(autojump_clock, one):
    it = one(BRAIINS)
    await it.start(password="new one")
    assert it.image.state is UnitState.OFFLINE
    it.machine.password = "new one"
    await it.until(lambda: it.image.state is UnitState.RUN, 600)


# LuxOS.


async def test_while_somebody_else_is_logged_on_a_level_waits_and_goes_out_when_the_session_ends(autojump_clock, one):
    it = one(LUXOS)
    await it.start()
    it.machine.open_session()
    it.tell(1)
    await trio.sleep(40)
    assert not it.machine.writes  # another one's session is never borrowed
    assert it.image.state is not UnitState.FAULT
    assert "level 1 could not be sent" in it.image.fault
    assert "somebody else is logged on" in it.image.fault
    assert (await it.until_settled_on(1)).fault is None
    assert len(it.machine.writes) == 1
    assert it.names().count("unit.not_sent") == 1


async def test_a_session_that_somebody_takes_between_two_writes_costs_a_try_and_no_more(autojump_clock, one):
    it = one(LUXOS, level=0)
    await it.start()
    it.machine.steals_session = True
    it.tell(2)
    await it.until(lambda: it.machine.sessions_opened >= 2, 60)
    it.machine.steals_session = False
    await it.until_settled_on(2, 600)


async def test_a_machine_that_manages_its_heat_itself_says_how_to_stop_that(autojump_clock, one):
    it = one(LUXOS)
    it.machine.has_thermal_management = True
    await it.start()
    it.tell(1)
    image = await it.until(lambda: it.image.state is UnitState.FAULT)
    assert "atmset enabled=false" in image.fault


# AxeOS.


async def test_firmware_without_a_pause_says_so_and_goes_on_following_levels_once_cleared(autojump_clock, one):
    it = one(AXEOS)
    it.machine.can_pause = False
    await it.start()
    it.tell(0)
    image = await it.until(lambda: it.image.state is UnitState.FAULT)
    assert "cannot pause: update it" in image.fault
    assert it.fleet.clear_fault("u1") is None
    await it.until(lambda: it.image.state is UnitState.RUN)
    it.tell(1)
    await it.until_settled_on(1)


async def test_firmware_that_takes_a_frequency_only_when_it_starts_is_restarted_and_proven(autojump_clock, one):
    it = one(AXEOS, change_reboots=True)
    await it.start()
    it.tell(1)
    await it.until_settled_on(1)
    assert [write.split(" ")[:2] for write in it.machine.writes] == [["PATCH", "/api/system"], ["POST", "/api/system/restart"]]
    it.tell(0)
    await it.until_settled_on(0)
    it.tell(2)
    await it.until_settled_on(2, 600)
