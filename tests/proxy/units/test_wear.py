"""Dwell and starts of one machine."""

import pytest

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


def test_dwell_times_and_starts_are_known_to_the_next_process_on_its_own_clock():
    before, after = Wear(MODEL), Wear(MODEL)
    assert before.kept(0.0) is None
    before.changed(1, is_start=True, now_s=1_000.0)
    before.changed(0, is_start=False, now_s=3_000.0)
    before.started(5_000.0)
    # The next process has been up for 100 s, and a minute has passed.
    after.recall(before.kept(ahead_s=1e9), now_s=100.0, now_unix_s=1e9 + 5_060.0)
    assert after.changed_at_s == pytest.approx(-1_960.0)
    assert after.earliest_sleep_s(is_off=False) == pytest.approx(40.0 + 1_800.0)
    assert after.earliest_change_s(is_off=True) == pytest.approx(-1_960.0 + 900.0)
    assert "2 times in 24 h" in after.refusal(1, is_off=True, now_s=10_000.0)
    assert after.starts_today(82_440.0) == 1


def test_what_happened_since_stands_and_a_clock_that_went_back_puts_nothing_in_the_future():
    before, after = Wear(MODEL), Wear(MODEL)
    before.changed(1, is_start=True, now_s=1_000.0)
    after.changed(1, is_start=True, now_s=50.0)
    after.recall(before.kept(ahead_s=1e9), now_s=60.0, now_unix_s=0.0)
    assert after.changed_at_s == 50.0
    assert after.earliest_sleep_s(is_off=False) == 50.0 + 1_800.0
    assert after.starts_today(60.0) == 2
