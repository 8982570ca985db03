"""Scenario files: those that are shipped can run, and mistakes are named with file, line and remedy."""

from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.sim.twin import scenario

GOOD = """
[scenario]
title = "a small one"
[fleet]
units = 4
loops = 2
model = "m"
[models.m]
levels = [{ name = "full", power_w = 8064, hashrate_hps = 480e12, setting = 1 }]
[demand]
peak_w = 20_000
"""


def problems(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        scenario.load(path)
    return "\n".join(caught.value.problems)


def test_the_shipped_scenarios_are_those_of_the_documentation():
    names = [path.stem for path in scenario.shipped()]
    assert names == ["greenhouse-360", "home-heater", "island-228", "nordic-228", "nordic-920", "pilot-tank"]
    page = Path(__file__).parents[4] / "docs/reference/scenarios.md"
    assert [name for name in names if f"`{name}`" not in page.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("path", scenario.shipped(), ids=lambda path: path.stem)
def test_every_shipped_scenario_has_units_loops_and_a_plant(path: Path):
    loaded = scenario.load(path)
    plant = scenario.plant_of(loaded)
    assert sum(plant.sizes or ()) == len(loaded.site.units)
    assert list(plant.loops) == scenario.loop_names(loaded.site)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="nordic-920"):
        scenario.find("nordic-921")


def test_units_are_dealt_out_evenly(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert [unit.loop for unit in scenario.load(path).site.units] == ["L1", "L1", "L2", "L2"]


def test_a_wrong_key_is_named_with_its_line(tmp_path):
    text = problems(tmp_path, GOOD.replace("peak_w", "peak_kw"))
    assert "mine.toml:11" in text
    assert "peak_kw" in text


def test_a_loop_that_does_not_exist_is_named_with_those_that_do(tmp_path):
    text = problems(tmp_path, GOOD + '[[faults]]\nkind = "loop_trip"\nat_s = 60\nloop = "L9"\n')
    assert "L9" in text
    assert "L1, L2" in text


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (GOOD.replace('model = "m"', 'model = "n"'), "models.n"),
        (GOOD.replace("peak_w = 20_000", ""), "peak_w"),
        (GOOD + '[[faults]]\nkind = "pump_fails"\nat_s = 1\n', "needs a loop"),
        (GOOD + '[[faults]]\nkind = "import_limit"\nat_s = 1\n', "needs a value"),
        (GOOD + '[[faults]]\nkind = "gremlins"\nat_s = 1\n', "gremlins"),
        (GOOD.replace("peak_w", 'kind = "room"\npeak_w'), "[room]"),
        ("[scenario]\ntitle = 'x'\n[demand]\npeak_w = 1\n", "[fleet]"),
        ("not toml", "TOML"),
    ],
)
def test_mistakes_are_explained(tmp_path, wrong, hint):
    assert hint in problems(tmp_path, wrong)


def test_a_scenario_may_be_of_a_real_site_file(tmp_path):
    site = (Path(__file__).parents[4] / "proxy/sim/scenarios/nordic-228.toml").read_text(encoding="utf-8")
    model = site[site.index("[models.A1566HA]") : site.index("[heat]")]
    (tmp_path / "units.csv").write_text("id,address,model,loop\na,10.0.0.1,A1566HA,L1\nb,10.0.0.2,A1566HA,L2\n", encoding="utf-8")
    loops = '[[loops]]\nname = "L1"\n[[loops]]\nname = "L2"\n'
    pools = '[[pools]]\nname = "p"\nurl = "stratum+tcp://127.0.0.1:1"\nuser = "u"\n'
    (tmp_path / "site.toml").write_text(f'units_file = "units.csv"\n{pools}{loops}{model}', encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text('[scenario]\ntitle = "x"\nsite = "site.toml"\n[demand]\npeak_w = 10_000\n', encoding="utf-8")
    assert [unit.id for unit in scenario.load(path).site.units] == ["a", "b"]


def test_the_start_must_name_its_zone(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("[fleet]", 'start = "2026-01-15T00:00:00"\n[fleet]'), encoding="utf-8")
    with pytest.raises(ConfigError, match="zone"):
        scenario.start_unix_s(scenario.load(path).scenario)
