"""Settled periods over HTTP."""

import msgspec
import pytest

from proxy.heat.totals import SettlementDocument
from proxy.web.context import WebContext
from tests.proxy.web.fake_site import START_UNIX_S, FakeSite
from tests.proxy.web.serving import Clock, local_client
from tests.support.settled import fake_proofs

DAY = f"from={int(START_UNIX_S)}&to={int(START_UNIX_S) + 86_400}"


async def get(query: str = "", *, has_ledger: bool = True):
    site = FakeSite(Clock())
    site.has_ledger = has_ledger
    site.proofs = fake_proofs()
    async with local_client(WebContext(site)) as client:
        return await client.get(f"/api/v1/settlement?{query}")


async def test_periods_totals_and_proof_come_in_one_document() -> None:
    site = FakeSite(Clock())
    end = int(site.view().now_unix_s)
    answer = await get(f"from={end - 7_200}&to={end}")
    document = msgspec.json.decode(answer.content, type=SettlementDocument)
    assert [total.scope for total in document.totals] == ["site", "loop-1", "loop-2", "loop-3", "loop-4"]
    assert len(document.periods) == document.totals[0].periods * 5 > 0
    assert document.totals[0].proof_agrees is True
    assert document.state.proofs[1].agrees is False
    assert len(document.state.head or "") == 64


async def test_without_times_the_last_day_is_answered() -> None:
    document = msgspec.json.decode((await get()).content, type=SettlementDocument)
    assert document.totals[0].periods in (94, 95)  # of 96: the newest are not closed yet


@pytest.mark.parametrize(
    "query", ["from=20&to=10", "from=10&to=10", f"from=1&to={9 * 86_400}", "from=yesterday", "to=-1", "from=1e400"]
)
async def test_times_that_make_no_span_are_refused_with_a_remedy(query: str) -> None:
    answer = await get(query)
    assert answer.status_code == 400
    assert answer.json()["remedy"]


async def test_a_ledger_that_cannot_be_read_is_no_mistake_of_the_asker() -> None:
    answer = await get(DAY, has_ledger=False)
    assert answer.status_code == 503
    assert "locked" in answer.json()["detail"]
