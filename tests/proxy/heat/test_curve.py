"""The heat curve goes through its points, straight between them and flat beyond."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.heat import curve

POINTS = st.lists(
    st.tuples(st.integers(-40, 40).map(float), st.floats(0, 1e7)), min_size=1, max_size=8, unique_by=lambda point: point[0]
).map(sorted)


@given(POINTS, st.floats(-60, 60))
def test_the_curve_never_leaves_the_range_of_its_points(points, outdoor_c):
    value = curve.at(points, outdoor_c)
    assert value is not None
    values = [point[1] for point in points]
    assert min(values) - 1e-6 <= value <= max(values) + 1e-6


@given(POINTS)
def test_the_curve_goes_through_its_points_and_is_flat_beyond_them(points):
    assert [curve.at(points, outdoor_c) for outdoor_c, _ in points] == [value for _, value in points]
    assert curve.at(points, -100.0) == points[0][1]
    assert curve.at(points, 100.0) == points[-1][1]


@given(POINTS, st.floats(-60, 60), st.floats(0, 20))
def test_where_every_point_asks_for_less_the_warmer_it_is_so_does_the_curve(points, outdoor_c, warmer_k):
    values = sorted((value for _, value in points), reverse=True)
    falling = [(outdoor, value) for (outdoor, _), value in zip(points, values, strict=True)]
    colder, warmer = curve.at(falling, outdoor_c), curve.at(falling, outdoor_c + warmer_k)
    assert colder is not None
    assert warmer is not None
    assert warmer <= colder + 1e-6


def test_without_points_there_is_no_curve():
    assert curve.at([], 0.0) is None
    assert curve.at([(-20.0, 2e6), (0.0, 1e6)], -10.0) == 1.5e6
