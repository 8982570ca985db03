"""Dwell and starts of one machine."""

from proxy import config
from proxy.units.wear import Wear

MODEL = config.Model(levels=[config.Level(name="on", power_w=1, hashrate_hps=1)], max_starts_per_day=2)


def test_what_happened_before_our_time_binds_nothing():
    wear = Wear(MODEL)
    assert wear.refusal(1, is_off=False, now_s=0.0) is None
    assert wear.refusal(0, is_off=False, now_s=0.0) is None
    assert wear.refusal(1, is_off=True, now_s=0.0) is None


def test_each_change_has_its_dwell():
    wear = Wear(MODEL)
    wear.changed(1, is_start=True, now_s=1_000.0)
    assert wear.earliest_change_s(is_off=False) == 1_300.0
    assert wear.earliest_sleep_s(is_off=False) == 2_800.0
    assert "due in 200 s" in wear.refusal(1, is_off=False, now_s=1_100.0)
    assert "due in 1500 s" in wear.refusal(0, is_off=False, now_s=1_300.0)
    wear.changed(0, is_start=False, now_s=3_000.0)
    assert wear.earliest_change_s(is_off=True) == 3_900.0


def test_starts_are_counted_over_a_rolling_day():
    wear = Wear(MODEL)
    wear.started(0.0)
    wear.started(3_600.0)
    assert wear.starts_today(3_600.0) == 2
    assert "2 times in 24 h" in wear.refusal(1, is_off=True, now_s=10_000.0)
    assert wear.refusal(1, is_off=True, now_s=86_400.0) is None
    assert wear.starts_today(86_400.0) == 1
    assert wear.starts_today(200_000.0) == 0
