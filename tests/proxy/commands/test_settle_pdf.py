"""The pages of a settlement report: all of it is on paper, and nothing lies on anything else."""

from collections.abc import Sequence
from itertools import combinations
from zoneinfo import ZoneInfo

import matplotlib as mpl
import msgspec
import numpy as np
import pytest
from matplotlib.figure import Figure

from proxy.commands.settle import Settled
from proxy.commands.settle_pdf import STYLE, pages_of
from proxy.heat.totals import scopes, totals
from proxy.ledger.records import PeriodRecord
from tests.support.settled import make_period

ZONE = ZoneInfo("Europe/Helsinki")
DAY = 1_792_875_600  # 2026-10-25 00:00 in Helsinki
GAP = {"heat_wh": None, "heat_quality": "missing", "heat_missing_s": 900.0}


def day(loops: int, *, cold: int = 0, hours: int = 25, **site: object) -> list[PeriodRecord]:
    """Quarter hours of a site and its loops; `cold` of them make no heat."""
    records = []
    for start in range(DAY, DAY + hours * 3_600, 900):
        records.append(make_period(start, **site))
        for number in range(loops):
            record = make_period(start, f"loop-{number:02}", 1.0 / loops)
            records.append(msgspec.structs.replace(record, heat_wh=1.0) if number < cold else record)
    return records


def pages(records: Sequence[PeriodRecord], site: str = "riverside") -> list[Figure]:
    sums = [totals(records, scope, 0.95, 0.10) for scope in scopes(records)]
    end = records[-1].end_unix_s
    settled = Settled(site, DAY, end, ZONE.key, end + 3_600.0, 14_400, "9b" * 32, "EUR", list(records), sums)
    with mpl.rc_context(STYLE):
        drawn = list(pages_of(settled, ZONE))
        for page in drawn:
            page.canvas.draw()
    return drawn


def words(drawn: Sequence[Figure]) -> str:
    """Everything written outside of the plots."""
    return "\n".join(text.get_text() for page in drawn for text in page.texts)


@pytest.mark.parametrize(
    ("records", "count"),
    [
        (day(0), 4),
        (day(4, cold=1), 4),
        (day(12, cold=3), 5),
        (day(40, cold=40), 8),
        (day(0, hours=1, demand_wh=None, demand_s=0.0, work_wh=None), 4),
        (day(4, **GAP), 4),
    ],
    ids=["no loops", "a few", "a dozen", "many and all wrong", "little known", "no heat known"],
)
def test_everything_is_on_its_page_and_nothing_on_anything_else(records: list[PeriodRecord], count: int) -> None:
    drawn = pages(records, "the district heating plant of the river side, hall 7")
    assert len(drawn) == count
    for page in drawn:
        boxes = [(text, text.get_window_extent()) for text in page.texts]
        for text, box in boxes:
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= page.bbox.x1, text
            assert box.y1 <= page.bbox.y1, text
        for (text, box), (other, its) in combinations(boxes, 2):
            assert not box.overlaps(its), (text, other)


def test_each_loop_and_the_chain_are_in_the_report_however_many_there_are() -> None:
    said = words(pages(day(40, cold=40)))
    assert all(said.count(f"loop-{number:02}") == 2 for number in range(40))
    assert "9b" * 32 in said


def test_a_hole_in_the_records_is_said_and_not_drawn_over() -> None:
    records = [record for record in day(0) if not DAY + 36_000 <= record.start_unix_s < DAY + 43_200]
    drawn = pages(records)
    assert "no record of 2.0 h, not in the sum" in words(drawn)
    above = drawn[1].axes[0]
    heat = next(line for line in above.lines if line.get_label() == "delivered")
    assert np.isnan(np.asarray(heat.get_ydata(), dtype=float)).sum() == 1
    assert len(above.patches) == 1  # one grey span


def test_a_period_beside_a_gap_keeps_its_width() -> None:
    records = day(0, hours=2)
    records[3] = msgspec.structs.replace(records[3], **GAP)
    heat = next(line for line in pages(records)[1].axes[0].lines if line.get_label() == "delivered")
    known = ~np.isnan(np.asarray(heat.get_ydata(), dtype=float))
    assert known.tolist() == [True] * 6 + [False] * 2 + [True] * 8
