"""A machine is recorded as it is, for every family, in virtual time; what goes wrong on the way is said, and the level restored."""

import random
import tomllib

import msgspec
import pytest
import trio
import trio.testing

from proxy import config
from proxy.checks.load import load_site
from proxy.commands.profile_unit import record
from proxy.commands.say import CliError
from proxy.sim.device import CLOCK_BASE_UNIX_S, SimDeviceSpec, WithoutWork
from proxy.units.profile import Plan, ProfileError, Recording, Setting
from proxy.units.profile_table import table_of
from tests.support.machines import AVALON, BRAIINS, FAMILIES

SITE = """
[[pools]]
name = "main"
url = "stratum+ssl://pool.example:443"
user = "account"

[[loops]]
name = "north"

[[units]]
id = "u1"
address = "10.0.0.1"
model = "%s"
loop = "north"

"""


class Bench:
    """A simulated machine that lives in the trio clock's time, and a recording of it."""

    def __init__(self, family, *, level=2, plan=(), **spec):
        quick = msgspec.structs.replace(family.model, settle_s=60.0, wake_s=100.0)
        made = msgspec.structs.replace(SimDeviceSpec.from_model(quick), **spec)
        self.machine = family.device(made, random.Random(1), level=level)
        self.machine.advance(1_000.0)
        self.start_s = trio.current_time() - 1_000.0
        self.lines = []
        settings = tuple(Setting(each.setting) for each in family.model.levels)
        given = {"driver": family.model.driver, "settings": settings, "patience_s": 600.0} | dict(plan)
        self.family = family
        self.recording = Recording(Plan(**given), self.make_driver, trio.current_time, trio.sleep, self.lines.append)

    def now_s(self):
        return trio.current_time() - self.start_s

    def make_driver(self, model):
        async def connect(_address, _port):
            ours, theirs = trio.testing.memory_stream_pair()
            trio.lowlevel.spawn_system_task(self.machine.handle, theirs, self.now_s)
            return ours

        unit = config.Unit(id="u1", address="127.0.0.1", model="m", loop="north")
        password = getattr(self.machine, "password", "")
        return self.family.driver(unit, model, connect, lambda: CLOCK_BASE_UNIX_S + self.now_s(), password)

    async def record(self, until_stopped=trio.sleep_forever):
        return await record(self.recording, until_stopped)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
async def test_what_is_recorded_is_what_the_machine_is_and_the_site_file_takes_it(family, autojump_clock, tmp_path):
    bench = Bench(family, change_delay_s=(9.0, 9.0))
    profile = await bench.record()
    spec = bench.machine.spec
    for rest, level in zip(profile.levels, spec.levels, strict=True):
        assert rest.power_w == pytest.approx(level.power_w, rel=0.08)
        assert rest.hashrate_hps == pytest.approx(level.hashrate_hps, rel=0.08)
    (tmp_path / "password").write_text("hush")
    (tmp_path / "password").chmod(0o600)
    account = {"api_password_file": "password"} if family.name in ("whatsminer", "braiins") else {}
    table = table_of(profile, "made.here", "2026-11-23", account)
    (tmp_path / "site.toml").write_text(SITE % "made.here" + table)
    model = load_site(tmp_path / "site.toml").config.models["made.here"]
    assert (model.driver, model.change_reboots) == (family.model.driver, False)
    assert [level.setting for level in model.levels] == [level.setting for level in spec.levels]
    assert model.sleep_power_w == pytest.approx(spec.sleep_power_w, abs=1)
    assert model.change_delay_s == pytest.approx(9.0, abs=5)
    assert model.ramp_up_s == pytest.approx(spec.ramp_up_s, rel=0.3)
    assert model.ramp_down_s == pytest.approx(spec.ramp_down_s, abs=4)
    assert spec.wake_delay_s[0] <= model.wake_s <= 2 * spec.wake_delay_s[1] + 30
    # Restored, and a machine made from the record is as slow as the one recorded.
    assert bench.machine.setting == spec.levels[1].setting
    again = SimDeviceSpec.from_model(model)
    assert (again.ramp_up_s, again.change_delay_s) == (model.ramp_up_s, (model.change_delay_s,) * 2)


async def test_a_reboot_on_change_is_seen(autojump_clock):
    bench = Bench(AVALON, change_reboots=True, plan={"with_sleep": False, "setting_command": "worklevel"})
    profile = await bench.record()
    assert all(change.rebooted for change in profile.changes)
    assert tomllib.loads(table_of(profile, "m", "now", {}))["models"]["m"]["change_reboots"] is True


@pytest.mark.parametrize(
    ("level", "fault", "words"),
    [
        (2, {"calibrating": True}, "calibrates"),
        (0, {}, "does not hash"),
        (2, {"no_work": True}, "does not hash"),
        (2, {"is_dead": True}, "silent"),
    ],
)
async def test_a_machine_in_no_state_to_be_recorded_is_not_touched(level, fault, words, autojump_clock):
    bench = Bench(AVALON, level=level, without_work=WithoutWork())
    for name, value in fault.items():
        setattr(bench.machine.faults, name, value)
    with pytest.raises(Exception, match=words):
        await bench.record()
    assert not bench.machine.writes


async def test_a_setting_that_could_not_be_restored_is_refused_first(autojump_clock):
    bench = Bench(AVALON, level=2, plan={"settings": (Setting(0), Setting(2))})
    with pytest.raises(ProfileError, match="none of --levels"):
        await bench.record()
    assert not bench.machine.writes


async def test_levels_that_are_not_by_rising_power_are_refused_and_the_level_restored(autojump_clock):
    bench = Bench(AVALON, level=3, plan={"settings": (Setting(2), Setting(0), Setting(1))})
    with pytest.raises(ProfileError, match="by rising power"):
        await bench.record()
    assert bench.machine.setting == 2


@pytest.mark.parametrize(("family", "stop_s"), [(AVALON, 80.0), (AVALON, 420.0), (BRAIINS, 80.0)])
async def test_stopped_at_any_time_it_brings_the_level_back(family, stop_s, autojump_clock):
    bench = Bench(family)

    async def stopped():
        await trio.sleep(stop_s)

    assert await bench.record(stopped) is None
    assert bench.machine.setting == family.model.levels[1].setting
    bench.machine.advance(bench.now_s() + 1_000)
    assert bench.machine.is_running


async def test_stopped_while_it_sleeps_it_is_woken_again(autojump_clock):
    bench = Bench(AVALON)

    async def asleep():
        while not any("softoff" in write for write in bench.machine.writes):
            await trio.sleep(1)
        await trio.sleep(20)

    assert await bench.record(asleep) is None
    assert (bench.machine.setting, bench.machine.soft_off) == (1, 0)


@pytest.mark.parametrize(
    ("fault", "words"), [({"refuses": "fan 3 is broken"}, "does not take level 1.*fan 3"), ({"no_effect": True}, "did not settle")]
)
async def test_a_machine_that_does_not_do_as_told_ends_it_with_the_cause(fault, words, autojump_clock):
    bench = Bench(AVALON)
    for name, value in fault.items():
        setattr(bench.machine.faults, name, value)
    with pytest.raises(ProfileError, match=words):
        await bench.record()
    assert bench.machine.setting == 1


async def test_a_machine_that_calibrates_on_the_way_ends_it(autojump_clock):
    bench = Bench(AVALON)

    async def tune():
        await trio.sleep(10)
        bench.machine.faults.calibrating = True
        await trio.sleep_forever()

    with pytest.raises(ProfileError, match="tune itself"):
        await bench.record(tune)
    assert bench.machine.setting == 1


async def test_a_machine_that_does_not_come_back_is_told_to_the_operator(autojump_clock):
    bench = Bench(AVALON)

    async def stopped():
        await trio.sleep(80)
        bench.machine.faults.no_effect = True

    with pytest.raises(CliError, match="did not come back to level 2"):
        await bench.record(stopped)


async def test_lost_answers_are_read_back_and_change_nothing(autojump_clock):
    bench = Bench(AVALON, plan={"with_sleep": False})
    bench.machine.faults.lost_answers = 2
    profile = await bench.record()
    assert len(bench.machine.writes) == len(profile.changes) + 1  # one each, and one to restore


async def test_a_machines_words_stay_inside_of_comments(autojump_clock):
    bench = Bench(AVALON, plan={"with_sleep": False})
    profile = await bench.record()
    found = msgspec.structs.replace(profile.found, firmware='1"\n[models.evil]\n\x00', serial=None)
    document = tomllib.loads(table_of(msgspec.structs.replace(profile, found=found), 'a"\\ b', "now", {}))
    assert list(document["models"]) == ['a"\\ b']
