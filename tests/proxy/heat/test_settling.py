"""Settlement against a real ledger: periods closed on time, after a restart, after a kill; corrections; the proof's alarms."""

import contextlib
import hashlib
import shutil

import msgspec
import pytest
import trio
from sqlalchemy import create_engine, text

from proxy import config
from proxy.events import EventLog
from proxy.heat.meters.bank import Counter, Measured
from proxy.heat.settling import CLOSE_DELAY_S, LOOK_S, Settling
from proxy.heat.signals.port import Report
from proxy.ledger.ledger import Ledger
from proxy.ledger.records import DemandRecord, ShareRecord
from proxy.ledger.verify import verify
from proxy.units.unit import LevelFact, UnitImage, UnitState
from proxy.views import HeatView

START = 1_768_435_200.0  # a quarter hour begins
TH = 1e12
LEVELS = (LevelFact(48.0, 0.0), LevelFact(5_645.0, 367 * TH), LevelFact(8_064.0, 480 * TH))
UNITS = 10
FULL_W = UNITS * 8_064.0
EFFICIENCY = 0.95
SHARE_S = 3 * LOOK_S


def site_config():
    model = config.Model(
        sleep_power_w=48.0,
        levels=[config.Level(name=f"l{k}", power_w=f.power_w, hashrate_hps=f.hashrate_hps) for k, f in enumerate(LEVELS) if k],
    )
    return config.SiteConfig(
        pools=[config.Pool(name="p", url="stratum+tcp://pool:3333", user="x")],
        loops=[config.Loop(name="a"), config.Loop(name="b")],
        models={"m": model},
        units=[config.Unit(id=f"u{k}", address=f"10.0.0.{k + 1}", model="m", loop="ab"[k % 2]) for k in range(UNITS)],
        heat=config.Heat(thermal_efficiency=EFFICIENCY),
    )


class Plant:
    """What settlement looks at: heat control, meters and fleet of a plant whose truth the test sets."""

    def __init__(self):
        self.now_unix_s = START
        self.electric_w = FULL_W
        self.heat_part = EFFICIENCY  # of the electricity, at the heat meter
        self.told = 1.0  # telemetry over truth
        self.worked = 1.0  # work over what the power would make
        self.has_meter = True
        self.asked_c = 80.0
        self.is_alive = True
        self.supply_c = 79.0
        self.heat_wh = 5_000_000.0
        self.electric_wh = 7_000_000.0

    def __call__(self):
        return self.now_unix_s

    def pass_time(self, seconds):
        self.now_unix_s += seconds
        self.heat_wh += self.electric_w * self.heat_part * seconds / 3_600
        self.electric_wh += self.electric_w * seconds / 3_600

    def view(self):
        fields = dict.fromkeys(HeatView.__struct_fields__)
        heat_w = self.electric_w * self.heat_part if self.has_meter else None
        known = {"demand_w": 70_000.0, "demand_valid_for_s": 0.0, "heat_w": heat_w, "heat_quality": "measured"}
        return HeatView(**{**fields, **known})

    def report(self, now_unix_s):
        fields = dict.fromkeys(Report.__struct_fields__)
        return Report(
            **{
                **fields,
                "alive": int(now_unix_s) if self.is_alive else 7,
                "supply_asked_c": self.asked_c,
                "supply_c": self.supply_c,
            }
        )

    def site_heat(self, now_unix_s):
        return Measured(None, "unknown")  # a meter that only sends its counter; power is control's

    def loop_heat(self, loop, now_unix_s):
        return Measured(None, "unknown")

    def electric_power(self, place):
        return self.electric_w if self.has_meter and place == "boundary" else None

    def counter(self, place, now_unix_s, measures="heat"):
        if not self.has_meter or place != "boundary":
            return None
        return Counter(f"m-{measures}", now_unix_s, self.heat_wh if measures == "heat" else self.electric_wh)

    def image(self, now_s):
        level = 2 if self.electric_w else 0
        none = dict.fromkeys(UnitImage.__struct_fields__)
        return tuple(
            UnitImage(
                **{
                    **none,
                    "id": f"u{k}",
                    "loop": "ab"[k % 2],
                    "state": UnitState.OFFLINE if k == 0 else UnitState.RUN,
                    "levels": LEVELS,
                    "level_observed": level,
                    "power_w": self.electric_w / UNITS * self.told,
                }
            )
            for k in range(UNITS)
        )


class Meters:
    def __init__(self, plant):
        self.site_heat = plant.site_heat
        self.loop_heat = plant.loop_heat
        self.counter = plant.counter
        self._plant = plant

    def electric_w(self, now_unix_s, place="boundary"):
        return self._plant.electric_power(place)


class Rig:
    """A plant, and settlement on a ledger in one directory; opened again, it is the next process."""

    def __init__(self, directory):
        self.directory = directory
        self.plant = Plant()
        self.events = EventLog(self.plant)
        self.url = f"sqlite:///{directory / 'ledger.sqlite3'}"

    @contextlib.asynccontextmanager
    async def process(self, directory=None):
        ledger = Ledger.open(config.Ledger(group_commit_s=0.001), directory or self.directory, self.plant)
        plant = self.plant
        settling = Settling(
            site_config(), heat=plant, meters=Meters(plant), fleet=plant, ledger=ledger, events=self.events, wall_clock=plant
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(ledger.run)
            yield ledger, settling
            settling.end()
            nursery.cancel_scope.cancel()

    async def live(self, ledger, settling, seconds, *, work=True):
        """Let time pass: shares come in, looks are taken, periods are closed when they are due."""
        until = self.plant.now_unix_s + seconds
        while self.plant.now_unix_s < until:
            if work and self.plant.now_unix_s % SHARE_S < LOOK_S:
                self.share(ledger)
            settling.look()
            self.plant.pass_time(LOOK_S)
            if self.plant.now_unix_s % 60 < LOOK_S:
                await settling.close_due()
        settling.look()
        await settling.close_due()

    def share(self, ledger, at_unix_s=None):
        """One share of each unit for what it worked in SHARE_S."""
        difficulty = 480 * TH * SHARE_S * self.plant.worked * (self.plant.electric_w / FULL_W) / 2**32
        for k in range(UNITS):
            share_id = ledger.next_share_id()
            key = hashlib.sha256(share_id.to_bytes(8, "big")).digest()[:16]
            at = self.plant() if at_unix_s is None else at_unix_s
            ledger.record_share(
                ShareRecord(share_id, at, f"u{k}", f"u{k}", "p", 1, "j", difficulty, difficulty, key, False, False), None
            )

    async def periods(self, ledger, scope="site"):
        await ledger.flush()
        found = await ledger.reports.periods(0, 4e9)
        return [record for record in found if record.scope == scope]

    def names(self):
        return [event.name for event in self.events.since(0)]


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


QUARTER_WH = FULL_W / 4


async def test_a_period_is_closed_with_everything_it_must_say(rig):
    async with rig.process() as (ledger, settling):
        demand = DemandRecord("utility", 0, 1, START - 60, START - 60, START + 450, 40_000.0, True)
        ledger.record_demand(demand)
        await rig.live(ledger, settling, 900 + CLOSE_DELAY_S + 5)
        (site,) = await rig.periods(ledger)
        (loop,) = await rig.periods(ledger, "a")
        view = settling.view()
    assert (site.start_unix_s, site.period_s, site.revision, site.reason) == (START, 900, 1, None)
    assert site.heat_wh == pytest.approx(QUARTER_WH * EFFICIENCY)
    assert (site.heat_quality, site.electric_quality, site.heat_missing_s) == ("measured", "measured", 0.0)
    assert site.electric_wh == pytest.approx(QUARTER_WH)
    assert site.reported_wh == pytest.approx(QUARTER_WH)
    assert site.work_wh == pytest.approx(QUARTER_WH, rel=0.01)
    assert site.work[0].shares == 60 * UNITS
    # A demand for one half, and for the other what control held (70 kW): here the fake holds all the time.
    assert site.demand_s == 900.0
    assert (site.supply_asked_s, site.supply_kept_s) == (900.0, 900.0)
    assert site.available_s == pytest.approx(0.9 * 900)
    assert (loop.heat_quality, loop.electric_quality) == ("estimated", "estimated")
    assert loop.heat_wh == pytest.approx(QUARTER_WH / 2 * EFFICIENCY)
    assert loop.demand_wh is None
    assert (view.closed, view.revised, view.rows, view.closed_until_unix_s) == (3, 0, 3, START + 900)
    assert verify(rig.url).is_sound
    assert [proof.scope for proof in view.proofs] == ["site", "a", "b"]
    assert view.proofs[0].agrees is True
    assert view.proofs[0].work_low_wh < QUARTER_WH < view.proofs[0].work_high_wh


async def test_a_restart_in_the_middle_of_a_period_costs_nothing_where_a_counter_speaks(rig):
    async with rig.process() as (ledger, settling):
        await rig.live(ledger, settling, 400)
    rig.plant.pass_time(200)  # nobody there
    async with rig.process() as (ledger, settling):
        await rig.live(ledger, settling, 300 + CLOSE_DELAY_S + 60)
        (site,) = await rig.periods(ledger)
    assert site.heat_wh == pytest.approx(QUARTER_WH * EFFICIENCY)
    assert (site.heat_quality, site.heat_missing_s) == ("measured", 0.0)
    assert site.available_s == pytest.approx(0.9 * 700, abs=6)
    assert sum(part.shares for part in site.work) < 60 * UNITS  # the work of those minutes went nowhere


async def test_what_was_learned_of_the_units_is_known_to_the_next_process(rig):
    async with rig.process() as (ledger, settling):
        await rig.live(ledger, settling, 900 + CLOSE_DELAY_S + 5)
        before = {unit: known.watched_s for unit, known in settling._learned.items()}
    assert set(before.values()) == {900.0}
    async with rig.process() as (_, settling):
        assert {unit: known.watched_s for unit, known in settling._learned.items()} == before


async def test_after_a_night_without_a_process_every_period_is_there_and_the_gap_is_stated(rig):
    async with rig.process() as (ledger, settling):
        await rig.live(ledger, settling, 600)
        ledger.record_demand(DemandRecord("utility", 0, 1, START, START + 1_800, START + 3_600, 40_000.0, True))
    rig.plant.has_meter = False
    rig.plant.pass_time(7_900)
    async with rig.process() as (ledger, settling):
        await rig.live(ledger, settling, 150)
        found = await rig.periods(ledger)
    assert [record.start_unix_s for record in found] == [START + 900 * k for k in range(9)]
    assert (found[0].heat_quality, round(found[0].heat_missing_s)) == ("missing", 300)
    assert found[0].heat_wh > 0
    assert all(record.heat_wh is None and record.heat_missing_s == 900.0 for record in found[1:])
    assert [record.demand_wh for record in found[2:4]] == [10_000.0, 10_000.0]  # it was asked for all the same
    assert verify(rig.url).is_sound


async def test_what_a_dead_control_said_last_is_not_settled(rig):
    async with rig.process() as (ledger, settling):
        await rig.live(ledger, settling, 300)
        rig.plant.is_alive = False
        rig.plant.has_meter = False
        await rig.live(ledger, settling, 600 + CLOSE_DELAY_S + 5)
        (site,) = await rig.periods(ledger)
    assert site.heat_quality == "missing"
    assert site.heat_missing_s == pytest.approx(600, abs=70)
    assert site.demand_s == pytest.approx(300, abs=70)


async def test_a_meter_that_comes_back_corrects_what_was_missing_by_a_revision(rig):
    async with rig.process() as (ledger, settling):
        await rig.live(ledger, settling, 900 + CLOSE_DELAY_S)
        rig.plant.has_meter = False
        await rig.live(ledger, settling, 1_800)
        before = await rig.periods(ledger)
        assert (before[1].heat_quality, round(before[1].heat_missing_s)) == ("missing", 780)
        rig.plant.has_meter = True
        await rig.live(ledger, settling, 1_800)
        after = await rig.periods(ledger)
        view = settling.view()
    assert after[1].revision == 2
    assert after[1].reason.startswith("heat: missing")
    assert after[1].heat_quality == "substituted"
    assert sum(record.heat_wh for record in after) == pytest.approx(QUARTER_WH * EFFICIENCY * len(after))
    assert view.revised >= 1
    assert "settlement.revised" in rig.names()
    with create_engine(rig.url).connect() as conn:
        kept = conn.execute(text("select count(*) from period where scope='site' and start_unix_s=:s"), {"s": START + 900})
        assert kept.scalar() == 2  # the first one is still there


async def test_shares_that_arrive_late_correct_the_period_they_belong_to(rig):
    async with rig.process() as (ledger, settling):
        await rig.live(ledger, settling, 900 + CLOSE_DELAY_S + 10)
        rig.share(ledger, at_unix_s=START + 100)
        await rig.live(ledger, settling, 900)
        first = (await rig.periods(ledger))[0]
    assert first.revision == 2
    assert first.reason == f"work: +{UNITS} shares came into the ledger later"


async def test_a_process_killed_at_any_moment_leaves_a_sound_chain_and_loses_no_period(rig, tmp_path):
    """A copy of the files while the process writes is what a kill leaves behind."""
    copies = []
    async with rig.process() as (ledger, settling):
        for number in range(4):
            await rig.live(ledger, settling, 610)
            await ledger.flush()
            copy = tmp_path / f"killed{number}"
            copy.mkdir()
            for file in tmp_path.glob("ledger.sqlite3*"):
                if not file.name.endswith(".lock"):
                    shutil.copy(file, copy)
            copies.append(copy)
    for copy in copies:
        async with rig.process(copy) as (ledger, settling):
            await rig.live(ledger, settling, 150)
            found = await rig.periods(ledger)
        assert verify(f"sqlite:///{copy / 'ledger.sqlite3'}").is_sound
        starts = [record.start_unix_s for record in found]
        assert starts == list(range(int(START), int(starts[-1]) + 900, 900))
        known = sum(record.heat_wh for record in found if record.heat_wh is not None)
        assert known == pytest.approx(QUARTER_WH * EFFICIENCY * len(found))  # the counter bridges it all


async def test_handing_a_revision_in_twice_writes_it_once(rig):
    async with rig.process() as (ledger, settling):
        await rig.live(ledger, settling, 900 + CLOSE_DELAY_S + 10)
        (site,) = await rig.periods(ledger)
        ledger.record_period(site)
        ledger.record_period(msgspec.structs.replace(site, heat_wh=1.0))
        assert await rig.periods(ledger) == [site]
    assert verify(rig.url).settlement_rows == 3


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("update period set heat_wh = heat_wh + 1 where period_id = 2", "row 2 was changed"),
        ("update period set heat_quality = 'measured' where period_id = 3", "row 3 was changed"),
        ("update period set work = '[]' where period_id = 1", "row 1 was changed"),
        ("update period set work = 'nonsense' where period_id = 1", "row 1 was changed"),
        ("delete from period where period_id = 2", "row 2 is missing"),
        ("delete from period where period_id = 6", "ends at row 5, but 6 rows were written"),
        ("update period set period_id = 7 where period_id = 6", "row 6 is missing"),
    ],
)
async def test_whoever_touches_a_settled_period_is_found(rig, statement, words):
    async with rig.process() as (ledger, settling):
        await rig.live(ledger, settling, 1_800 + CLOSE_DELAY_S + 10)
    assert verify(rig.url).is_sound
    engine = create_engine(rig.url)
    with engine.begin() as conn:
        conn.execute(text(statement))
    engine.dispose()
    report = verify(rig.url)
    assert not report.is_settlement_intact
    assert any(words in problem for problem in report.problems)


async def test_heat_that_does_not_arrive_raises_an_alarm_with_its_likely_cause_and_ends_it(rig):
    async with rig.process() as (ledger, settling):
        rig.plant.heat_part = 0.5
        await rig.live(ledger, settling, 900 + CLOSE_DELAY_S + 10)
        (alarm,) = settling.alarms()
        assert alarm.startswith("proof of heat, site: ")
        assert "units hash without heating" in alarm
        rig.plant.heat_part = EFFICIENCY
        await rig.live(ledger, settling, 1_800)
        assert settling.alarms() == ()
    assert rig.names().count("heat.proof_disagrees") == 1
    assert rig.names().count("heat.proof_agrees") == 1


@pytest.mark.parametrize(("fact", "value", "words"), [("told", 0.6, "telemetry lies"), ("worked", 0.5, "power without valid work")])
async def test_lying_telemetry_and_power_without_work_are_told_apart(rig, fact, value, words):
    async with rig.process() as (ledger, settling):
        setattr(rig.plant, fact, value)
        await rig.live(ledger, settling, 900 + CLOSE_DELAY_S + 10)
        site = settling.view().proofs[0]
    assert site.agrees is False
    assert words in site.cause


async def test_what_shares_prove_of_a_unit_has_an_interval(rig):
    async with rig.process() as (_ledger, settling):
        power = settling.share_power("u1", 480 * TH, 100.0)
        assert power.low_w < power.power_w == 8_064.0 < power.high_w
        assert settling.share_power("stranger", 480 * TH, 100.0) is None
