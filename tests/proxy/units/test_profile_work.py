"""What a machine does without work is recorded as it is and decides whether it may be kept from work; it always gets it back."""

import tomllib

import msgspec
import pytest
import trio

from proxy import config
from proxy.checks.load import load_site
from proxy.commands.profile_unit import record
from proxy.errors import ConfigError
from proxy.sim.device import WITHOUT_WORK, WithoutWork
from proxy.units.drivers.base import Reading
from proxy.units.profile import Plan, ProfileError, Recording, Setting
from proxy.units.profile_table import table_of
from proxy.units.profile_trace import Rest, Sample
from proxy.units.profile_work import LEASE_S, judge
from tests.proxy.units.test_profile import SITE, Bench
from tests.support.machines import AVALON, AXEOS, BRAIINS

BEFORE = Rest(8_000.0, 480e12)


class Gate:
    """Takes the work away as a proxy would: for so long, unless it is asked again."""

    def __init__(self, bench):
        self.bench = bench
        self.asked = 0
        self.is_gone = False
        self._scope = trio.CancelScope()

    async def withhold(self, for_s):
        if self.is_gone:
            raise ProfileError("no answer from the proxy")
        self.asked += 1
        self._scope.cancel()
        self._scope = trio.CancelScope()
        self.bench.machine.faults.no_work = True
        trio.lowlevel.spawn_system_task(self._expire, self._scope, for_s)

    async def give_back(self):
        if self.is_gone:
            raise ProfileError("no answer from the proxy")
        self.bench.machine.faults.no_work = False

    async def _expire(self, scope, for_s):
        with scope:
            await trio.sleep(for_s)
            self.bench.machine.faults.no_work = False


def bench_of(family, **spec):
    bench = Bench(family, **spec)
    plan = Plan(
        driver=family.model.driver,
        settings=tuple(Setting(each.setting) for each in family.model.levels),
        patience_s=600.0,
        with_sleep=False,
    )
    gate = Gate(bench)
    bench.recording = Recording(plan, bench.make_driver, trio.current_time, trio.sleep, bench.lines.append, gate)
    return bench, gate


def site_of(tmp_path, table):
    (tmp_path / "password").write_text("hush")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "site.toml").write_text(SITE % "made" + table)
    return load_site(tmp_path / "site.toml").config


async def test_a_bitaxe_stops_and_comes_back_and_may_then_be_kept_from_work(autojump_clock, tmp_path):
    bench, gate = bench_of(AXEOS, without_work=WITHOUT_WORK["axeos"])
    dry = (profile := await bench.record()).without_work
    assert (dry.behaviour, dry.restarts) == ("idles", 0)
    assert dry.idle_after_s < 60
    assert 30 <= dry.resume_s < 120  # it looks for work each 30 s
    assert gate.asked == pytest.approx(900 / (LEASE_S / 3), abs=2)
    table = table_of(profile, "made", "now", {}).replace("levels = [", "may_starve = true\nlevels = [")
    model = site_of(tmp_path, table).models["made"]
    assert config.may_starve(model)
    assert model.without_work.power_w == pytest.approx(dry.power_w, abs=0.1)
    assert (bench.machine.setting, bench.machine.is_running) == (AXEOS.model.levels[1].setting, True)


async def test_an_avalon_heats_on_and_then_restarts_and_must_not_be_kept_from_work(autojump_clock, tmp_path):
    bench, _ = bench_of(AVALON, without_work=WITHOUT_WORK["avalon"])
    dry = (profile := await bench.record()).without_work
    assert (dry.behaviour, dry.restarts) == ("restarts", 1)
    assert dry.resume_s is not None
    table = table_of(profile, "made", "now", {})
    assert tomllib.loads(table)["models"]["made"]["without_work"]["behaviour"] == "restarts"
    site_of(tmp_path, table)
    with pytest.raises(ConfigError, match="restarts again and again") as caught:
        site_of(tmp_path, table.replace("levels = [", "may_starve = true\nlevels = ["))
    assert len(caught.value.problems) == 1


async def test_a_machine_that_burns_on_is_recorded_as_such(autojump_clock):
    bench, _ = bench_of(BRAIINS, without_work=WithoutWork("heats_on"))
    dry = (await bench.record()).without_work
    assert (dry.behaviour, dry.idle_after_s) == ("heats_on", None)
    assert dry.power_w == pytest.approx(dry.before_w, rel=0.05)
    assert dry.resume_s == 0.0


async def test_stopped_without_work_it_gets_its_work_back(autojump_clock):
    bench, _ = bench_of(AXEOS)

    async def stopped():
        while not bench.machine.faults.no_work:
            await trio.sleep(1)
        await trio.sleep(20)

    assert await bench.record(stopped) is None
    assert not bench.machine.faults.no_work
    assert bench.machine.setting == AXEOS.model.levels[1].setting


async def test_where_the_proxy_goes_away_the_cause_is_said_and_the_work_comes_back_by_itself(autojump_clock):
    bench, gate = bench_of(AXEOS)

    async def go_away():
        while not bench.machine.faults.no_work:
            await trio.sleep(1)
        gate.is_gone = True
        await trio.sleep_forever()

    with pytest.raises(ProfileError, match="no answer from the proxy"):
        await record(bench.recording, go_away)
    assert any("comes back by itself" in line for line in bench.lines)
    await trio.sleep(LEASE_S)
    assert not bench.machine.faults.no_work


def samples(*parts):
    """(until_s, power_w or None for silence, elapsed_s at the start of the part or None) in looks of 10 s."""
    found, at_s = [], 0.0
    for until_s, power_w, elapsed_s in parts:
        began_s = at_s
        while at_s < until_s:
            told_s = None if elapsed_s is None else elapsed_s + at_s - began_s
            reading = None if power_w is None else Reading(at_s=at_s, power_w=power_w, elapsed_s=told_s)
            found.append(Sample(at_s, reading))
            at_s += 10.0
    return found


@pytest.mark.parametrize(
    ("parts", "behaviour", "restarts", "idle_after_s"),
    [
        ([(300, 40.0, 5_000.0)], "idles", 0, 0.0),
        ([(100, 8_000.0, 5_000.0), (300, 40.0, 5_100.0)], "idles", 0, 90.0),
        ([(300, 8_000.0, 5_000.0)], "heats_on", 0, None),
        ([(200, 40.0, 5_000.0), (300, 4_500.0, 5_200.0)], "heats_on", 0, None),
        ([(100, 8_000.0, 5_000.0), (150, None, None), (300, 40.0, 10.0)], "restarts", 1, None),
        ([(100, 40.0, 20.0), (200, 40.0, 10.0), (300, 40.0, 10.0)], "restarts", 3, None),
        ([(200, 40.0, 5_000.0), (400, None, None)], "silent", 0, None),
        ([(100, None, None)], "silent", 0, None),
    ],
)
def test_a_trace_has_one_meaning(parts, behaviour, restarts, idle_after_s):
    dry = judge(samples(*parts), BEFORE, 4_990.0)
    assert (dry.behaviour, dry.restarts, dry.idle_after_s) == (behaviour, restarts, idle_after_s)


@pytest.mark.parametrize(
    ("record_of", "says"),
    [
        (None, "nothing is recorded"),
        ({"behaviour": "heats_on", "resume_s": 1.0}, "heats on"),
        ({"behaviour": "silent", "resume_s": 1.0}, "answers no more"),
        ({"behaviour": "idles"}, "did not come back"),
    ],
)
def test_permission_needs_a_record_that_is_safe(record_of, says):
    record_of = None if record_of is None else msgspec.convert(record_of, config.WithoutWork)
    model = config.Model(levels=list(AVALON.model.levels), may_starve=True, without_work=record_of)
    assert says in config.starving_is_unsafe(model)
    assert not config.may_starve(model)
