"""Our bytes inside the pool's: nothing lost, nothing moved, for every size a pool may give."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.work.geometry import (
    Fit,
    Geometry,
    explain_misfit,
    fit,
    largest_unit_extranonce2,
    seconds_to_exhaust,
    smallest_pool_extranonce2,
)

BIP320 = 0x1FFFE000
geometries = st.builds(Geometry, st.integers(1, 3), st.integers(2, 8))


@given(geometries, st.binary(max_size=16), st.integers(0, 16), st.binary(max_size=300), st.data())
def test_the_pool_rebuilds_the_very_coinbase_the_unit_hashed(geometry, extranonce1, extranonce2_size, coinbase1, data):
    placed = fit(geometry, extranonce1, extranonce2_size)
    if extranonce2_size < geometry.unit_bytes:
        assert placed is None
        return
    assert placed is not None
    unit_extranonce = data.draw(st.binary(min_size=geometry.unit_bytes, max_size=geometry.unit_bytes))
    up = placed.pool_extranonce2(unit_extranonce)
    assert len(up) == extranonce2_size
    assert placed.prefix(coinbase1) + unit_extranonce == coinbase1 + extranonce1 + up


@given(geometries, st.integers(0, 16))
def test_only_a_pool_with_too_short_an_extranonce2_does_not_fit(geometry, size):
    assert (fit(geometry, b"", size) is not None) == (size >= smallest_pool_extranonce2(geometry))


def test_two_pools_of_other_layouts_leave_the_units_bytes_alone():
    geometry = Geometry(2, 2)
    first, second = fit(geometry, bytes.fromhex("0a0b0c0d"), 8), fit(geometry, bytes.fromhex("0102030405060708"), 4)
    assert first == Fit(bytes.fromhex("0a0b0c0d"), 4)
    assert second == Fit(bytes.fromhex("0102030405060708"), 0)
    unit = bytes.fromhex("beef0001")
    assert first.pool_extranonce2(unit).hex() == "00000000beef0001"
    assert second.pool_extranonce2(unit).hex() == "beef0001"
    assert first.prefix(b"\x51").hex() == "510a0b0c0d00000000"
    assert second.prefix(b"\x51").hex() == "510102030405060708"


def test_a_pool_with_an_empty_extranonce1_works():
    assert fit(Geometry(2, 2), b"", 4) == Fit(b"", 0)


@pytest.mark.parametrize(
    ("extranonce2_bytes", "mask", "seconds"),
    [(1, 0, 0.0044), (1, BIP320, 288.2), (2, 0, 1.126), (2, BIP320, 73_787.0), (3, 0, 288.2), (4, 0, 73_787.0)],
)
def test_search_space_of_a_250_th_unit(extranonce2_bytes, mask, seconds):
    assert seconds_to_exhaust(Geometry(2, extranonce2_bytes), mask, 250e12) == pytest.approx(seconds, rel=0.01)


@pytest.mark.parametrize("hashrate_hps", [0.0, -1.0, math.nan])
def test_a_unit_that_does_not_hash_never_runs_out(hashrate_hps):
    assert seconds_to_exhaust(Geometry(2, 2), BIP320, hashrate_hps) == math.inf


@given(st.integers(1, 3), st.lists(st.integers(0, 16), max_size=5))
def test_the_advised_extranonce2_fits_every_pool_and_one_more_byte_does_not(unit_id_bytes, sizes):
    advised = largest_unit_extranonce2(unit_id_bytes, sizes)
    if advised is None:
        assert any(fit(Geometry(unit_id_bytes, 2), b"", size) is None for size in sizes)
        return
    assert all(fit(Geometry(unit_id_bytes, advised), b"", size) for size in sizes)
    assert advised == 8 or any(fit(Geometry(unit_id_bytes, advised + 1), b"", size) is None for size in sizes)


@pytest.mark.parametrize(
    ("geometry", "size", "remedy"),
    [
        (Geometry(2, 4), 4, "set listen.extranonce2_bytes to 2"),
        (Geometry(2, 2), 3, "listen.unit_id_bytes 1 (256 connections)"),
        (Geometry(1, 2), 2, "ask the pool"),
        (Geometry(2, 2), 0, "ask the pool"),
    ],
)
def test_a_misfit_is_explained_with_its_remedy(geometry, size, remedy):
    text = explain_misfit(geometry, size)
    assert remedy in text
    assert f"gives {size} bytes" in text
