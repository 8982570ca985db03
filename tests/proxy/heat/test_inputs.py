"""Outdoor temperature, import limits and stops: kept by source, bounded, and gone when they expire, a stop excepted."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.heat.guidance import Guidance
from proxy.heat.inputs import MAX_SOURCES, Inputs, ManualLimit


@given(st.floats())
def test_an_outdoor_temperature_is_one_or_is_refused(outdoor_c):
    inputs = Inputs()
    refusal = inputs.set_outdoor(outdoor_c, "x", 0.0)
    assert (refusal is None) is (math.isfinite(outdoor_c) and -60 <= outdoor_c <= 60)
    assert inputs.outdoor_at(0.0, 3_600.0) == ((outdoor_c, 3_600.0) if refusal is None else None)


def test_the_newest_outdoor_temperature_counts_until_it_is_stale():
    inputs = Inputs()
    inputs.set_outdoor(-5.0, "roof", 0.0)
    inputs.set_outdoor(-7.0, "utility", 100.0)
    assert inputs.outdoor_at(200.0, 3_600.0) == (-7.0, 3_700.0)
    assert inputs.outdoor_at(3_700.0, 3_600.0) is None


def test_a_jump_of_the_temperature_is_believed_only_after_a_while():
    inputs = Inputs()
    assert inputs.set_outdoor(-5.0, "x", 0.0) is None
    assert "jumps by 25 K" in str(inputs.set_outdoor(20.0, "x", 60.0))
    assert inputs.outdoor_at(60.0, 3_600.0) == (-5.0, 3_600.0)
    assert inputs.set_outdoor(20.0, "x", 1_800.0) is None


def test_sources_are_bounded_but_a_stop_is_never_refused():
    inputs = Inputs()
    for k in range(MAX_SOURCES):
        assert inputs.set_outdoor(0.0, f"s{k}", 0.0) is None
        assert inputs.set_import_limit(1.0, 10.0, f"s{k}") is None
        assert inputs.set_stop(True, f"s{k}", 0.0)
    assert inputs.set_outdoor(0.0, "more", 0.0) is not None
    assert inputs.set_import_limit(1.0, 10.0, "more") is not None
    assert inputs.set_import_limit(2.0, 10.0, "s0") is None
    assert inputs.set_stop(True, "more", 0.0)


@pytest.mark.parametrize(("power_w", "until"), [(-1.0, 1.0), (math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_a_limit_that_is_none_is_refused(power_w, until):
    inputs = Inputs()
    assert inputs.set_import_limit(power_w, until, "x") is not None
    assert inputs.cap(None, 0.0).power_w is None


@given(
    st.none() | st.floats(0, 1e7),
    st.none() | st.floats(0, 1e7),
    st.dictionaries(st.sampled_from("abc"), st.tuples(st.floats(0, 1e7), st.floats(0, 100))),
    st.floats(0, 100),
)
def test_the_lowest_limit_that_has_not_expired_caps_the_site(site_w, manual_w, limits, now):
    inputs = Inputs(manual=None if manual_w is None else ManualLimit(manual_w, "anna", 0.0))
    for source, (power_w, until) in limits.items():
        inputs.set_import_limit(power_w, until, source)
    valid = [power_w for power_w, until in limits.values() if now < until]
    caps = [cap_w for cap_w in (site_w, manual_w, *valid) if cap_w is not None]
    assert inputs.cap(site_w, now).power_w == min(caps, default=None)


def test_an_import_limit_names_its_sender_and_is_taken_back_by_it():
    inputs = Inputs()
    inputs.set_import_limit(5e5, 100.0, "grid")
    assert (inputs.cap(9e5, 0.0).power_w, inputs.cap(9e5, 0.0).name) == (5e5, "import limit (grid)")
    inputs.set_import_limit(None, 0.0, "grid")
    assert inputs.cap(9e5, 0.0).name == "site cap"


def test_a_stop_holds_until_everybody_who_asked_has_taken_it_back():
    inputs = Inputs()
    assert inputs.stop_reason() is None
    assert [inputs.set_stop(True, name, 0.0) for name in ("plc", "plc", "rest")] == [True, False, True]
    assert not inputs.set_stop(False, "stranger", 1.0)
    assert inputs.set_stop(False, "plc", 1.0)
    assert inputs.stop_reason() == "emergency stop held by rest"
    inputs.set_stop(False, "rest", 1.0)
    inputs.manual = ManualLimit(0.0, "anna", 0.0)
    assert "by an operator" in str(inputs.stop_reason())


def test_guidance_counts_while_it_is_valid():
    guidance = Guidance(
        heat_now_w=1e6, valid_until_unix_s=100.0, price_of_heat_per_kwh=0.03, electricity_per_kwh=0.05, work_per_th_day=0.05
    )
    inputs = Inputs(guidance=guidance)
    assert inputs.guidance_at(99.0) is guidance
    assert inputs.guidance_at(100.0) is None
