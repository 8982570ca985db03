"""The walk that explains a site file agrees with the decoder that judges it, whatever the file holds."""

import math
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from proxy.checks.report import Report, index_lines, prefixes
from proxy.checks.shape import tables_of, walk
from proxy.config import SiteConfig

_SCALARS = st.one_of(
    st.booleans(),
    st.integers(-10, 100_000),
    st.floats(allow_nan=False, allow_infinity=False, width=32).filter(lambda each: not each.is_integer()),
    st.text(max_size=5),
    st.sampled_from(["main", "stratum+tcp://a.example:1", "off", "avalon", "1fffe000", "aggregated", "0" * 64]),
)


_TABLES = {label: shape for label, shape in tables_of(msgspec.inspect.type_info(SiteConfig)).items() if label}


@st.composite
def _table(draw: st.DrawFn) -> tuple[type[msgspec.Struct], dict[str, object]]:
    """One table that is nearly right: its required keys, some others and perhaps an unknown one, with values right and wrong."""
    shape = _TABLES[draw(st.sampled_from(sorted(_TABLES)))]
    required = {field.encode_name: _SCALARS for field in shape.fields if field.required}
    others = [field.encode_name for field in shape.fields if not field.required]
    chosen = draw(st.sets(st.sampled_from([*others, "unheard_of"]), max_size=3))
    pairs = st.lists(st.lists(_SCALARS, min_size=1, max_size=3), max_size=2)
    optional = {key: st.one_of(_SCALARS, st.lists(_SCALARS, max_size=2), pairs) for key in chosen}
    return shape.cls, draw(st.fixed_dictionaries(required | optional))


@given(_table())
def test_the_walk_finds_a_mistake_exactly_where_the_decoder_does(case):
    shape, document = case
    report = Report(Path("site.toml"))
    walked = walk(document, shape, report)
    try:
        decoded = msgspec.convert(document, shape)
    except msgspec.ValidationError:
        assert report.problems
    else:
        assert report.problems == []
        assert walked == decoded


@given(st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)))
def test_nothing_that_toml_can_hold_makes_the_walk_fail(document):
    report = Report(Path("site.toml"))
    assert isinstance(walk(document, SiteConfig, report), SiteConfig)
    assert report.problems


def test_a_number_that_is_not_finite_is_refused_even_without_a_range():
    report = Report(Path("site.toml"))
    pool = {"name": "a", "url": "stratum+tcp://a:1", "user": "u"}
    walk({"pools": [pool], "vardiff": {"start_difficulty": math.inf}}, SiteConfig, report)
    assert "inf is not a number" in report.problems[0]


def test_a_pair_with_a_value_too_many_or_of_the_wrong_type_is_named():
    report = Report(Path("site.toml"))
    pool = {"name": "a", "url": "stratum+tcp://a:1", "user": "u"}
    points = [[-20, 2e6], [-10, 1e6, 3], [0, "much"], 15]
    site = walk({"pools": [pool], "heat": {"curve": {"points": points}}}, SiteConfig, report)
    problems = "\n".join(report.problems)
    assert "heat.curve.points[1]: has 3 values; allowed: [a number, a number]" in problems
    assert 'heat.curve.points[2][1]: "much" is text; allowed: a number' in problems
    assert "heat.curve.points[3]: 15 is a whole number" in problems
    assert site.heat.curve.points[0] == (-20.0, 2e6)


def test_the_line_of_each_key_is_found():
    text = """
name = 1
[[pools]]
url = "x"
[[pools]]
text = \"\"\"
[not.a.header]
\"\"\"
url = "y"
[models."A 15".inner]
a.b = 1
[[models.X.levels]]
w = 1  # [no]
"""
    assert index_lines(text) == {
        "name": 2,
        "pools[0]": 3,
        "pools[0].url": 4,
        "pools[1]": 5,
        "pools[1].text": 6,
        "pools[1].url": 9,
        "models.A 15.inner": 10,
        "models.A 15.inner.a.b": 11,
        "models.X.levels[0]": 12,
        "models.X.levels[0].w": 13,
    }


@given(st.text())
def test_looking_for_lines_never_fails(text):
    assert all(line >= 1 for line in index_lines(text).values())


def test_a_mistake_hides_those_that_follow_from_it():
    report = Report(Path("site.toml"))
    report.mistake("pools[0]", "must be a table")
    report.mistake("pools[0].url", "is missing")
    assert report.problems == ["site.toml: pools[0]: must be a table"]
    assert prefixes("pools[0].url") == ["pools", "pools[0]", "pools[0].url"]
