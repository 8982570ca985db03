"""The twin as a whole: repeatable, energy kept, controlled by the product's own code, and told in pictures."""

import json

import msgspec
import numpy as np
import pytest

from proxy import cli
from proxy.sim.twin import campaign, scenario
from proxy.sim.twin.engine import Twin
from proxy.sim.twin.scenario import DemandSpec, Fault, FleetSpec, Header, Loaded, MachineSpec, Scenario, complete
from proxy.sim.twin.summary import summarize


def small(*faults: Fault, hours: float = 0.5, **changes: object) -> Loaded:
    from proxy import config

    base = Scenario(
        scenario=Header(title="small", hours=hours, step_s=10.0),
        fleet=FleetSpec(units=12, loops=2, model="m"),
        models={"m": config.Model(levels=list(campaign.LEVELS), sleep_power_w=48.0, settle_s=300.0, wake_s=330.0)},
        heat=config.Heat(telemetry_period_s=20.0),
        demand=DemandSpec(kind="constant", peak_w=60_000.0),
        machines=MachineSpec(lost_commands=0.05),
        faults=list(faults),
    )
    return complete("small", msgspec.structs.replace(base, **changes))


def test_the_same_seed_is_the_same_run_and_another_seed_is_not():
    runs = [Twin(small(), seed=seed).run() for seed in (5, 5, 6)]
    assert np.array_equal(runs[0]["heat_w"], runs[1]["heat_w"])
    assert not np.array_equal(runs[0]["heat_w"], runs[2]["heat_w"])


def test_the_plant_starts_settled_at_the_first_demand():
    twin = Twin(small())
    twin.step()
    assert twin.plant.delivered_w == pytest.approx(60_000.0, rel=0.03)


def test_heat_that_went_in_is_delivered_or_still_in_the_water():
    twin = Twin(small())
    stored_j = twin.plant.stored_j + twin.plant.in_pipe_j
    twin.run()
    kept_j = twin.plant.stored_j + twin.plant.in_pipe_j - stored_j
    assert twin.plant.input_j == pytest.approx(twin.plant.delivered_j + kept_j, rel=1e-9)
    assert twin.energy_wh * 3_600.0 * twin.plant.spec.efficiency == pytest.approx(twin.plant.input_j, rel=1e-6)


def test_a_fault_begins_and_ends():
    twin = Twin(small(Fault(kind="loop_trip", at_s=300.0, for_s=300.0, loop="L2")))
    seen = []
    for _ in range(100):
        twin.step()
        seen.append(int(twin.machines.is_dead.sum()))
    assert seen[28] == 0
    assert seen[29] == 6
    assert seen[58] == 6
    assert seen[59] == 0


def test_units_die_by_themselves_and_are_repaired():
    twin = Twin(small(failures=scenario.Wear(dead_every_s=600.0, repaired_after_s=700.0), hours=1.0))
    twin.run()
    assert twin.deaths == 6
    assert 0 < twin.machines.is_dead.sum() <= 2


def test_control_that_restarts_knows_the_demand_from_its_books():
    twin = Twin(small(Fault(kind="control_restarts", at_s=600.0)))
    before = twin.control
    twin.run()
    assert twin.control is not before
    assert twin.control.view().demand_w == pytest.approx(60_000.0)


def test_while_control_stands_no_unit_is_told_anything():
    twin = Twin(small(Fault(kind="control_stops", at_s=900.0), Fault(kind="demand_step", at_s=910.0, value=0.8)))
    while twin.now_s < 900.0:
        twin.step()
    sent = twin.fleet.sent
    twin.run()
    assert twin.fleet.sent == sent


def test_a_home_heater_is_one_unit_and_a_room():
    twin = Twin(scenario.load(scenario.find("home-heater")), hours=2.0)
    twin.run()
    summary = summarize(twin, 1, 0.0)
    assert summary.units == 1
    assert summary.room is not None
    assert 15.0 < twin.record["room_c"][-1] < 24.0


def test_the_command_prints_one_line_of_json_and_writes_pictures(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(
        """[scenario]
title = "a small one"
hours = 0.2
[fleet]
units = 8
loops = 2
model = "m"
[models.m]
levels = [{ name = "full", power_w = 8064, hashrate_hps = 480e12, setting = 1 }]
[demand]
peak_w = 40_000
""",
        encoding="utf-8",
    )
    with pytest.raises(SystemExit) as done:
        cli.main(["simulate", str(path), "--out", str(tmp_path / "out"), "--seed", "3"])
    assert done.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["units"], told["seed"], told["hours"]) == (8, 3, 0.2)
    written = sorted(each.name for each in (tmp_path / "out").iterdir())
    assert written == ["heat.png", "levels.png", "prices.png", "summary.json", "temperatures.png"]
    assert (tmp_path / "out" / "heat.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["simulate"], 1, "which scenario"),
        (["simulate", "nordic-921"], 78, "home-heater"),
        (["simulate", "nordic-228", "--hours", "0"], 1, "--hours"),
        (["simulate", "nordic-228", "--hours", "9999"], 1, "--hours"),
        (["simulate", "nordic-228", "--seed", "-4"], 1, "--seed"),
    ],
)
def test_wrong_words_are_answered_with_what_to_do(words, code, hint, capsys):
    with pytest.raises(SystemExit) as done:
        cli.main(words)
    assert done.value.code == code
    assert hint in capsys.readouterr().err


def test_the_list_names_every_shipped_scenario(capsys):
    with pytest.raises(SystemExit):
        cli.main(["simulate", "--list"])
    told = capsys.readouterr().out
    assert all(path.stem in told for path in scenario.shipped())


def test_dwell_times_of_machines_outlive_a_restart_of_control():
    twin = Twin(small(Fault(kind="demand_step", at_s=300.0, value=0.8)))
    for _ in range(100):
        twin.step()
    before = {unit: wear.changed_at_s for unit, wear in twin.fleet.worn().items()}
    assert any(at_s is not None for at_s in before.values())
    twin.control._keeping.keep(twin.now_s, twin.now_unix_s)
    twin.restart_control()
    assert {wear.changed_at_s for wear in twin.fleet.worn().values()} == {None}
    twin.step()
    assert {unit: wear.changed_at_s for unit, wear in twin.fleet.worn().items()} == pytest.approx(before)
