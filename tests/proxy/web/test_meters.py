"""Meters on the API: those that count, and those that do not with the reason."""

import msgspec

from proxy.heat.demand import MeterReading
from proxy.heat.meters.bank import BOUNDARY, MeterBank
from proxy.views import MeterView
from proxy.web.context import WebContext
from tests.proxy.web.fake_site import FakeSite
from tests.proxy.web.serving import Clock, local_client

NOW = 1_768_435_200.0


async def test_a_meter_that_is_left_out_is_shown_with_its_reason_and_unknown_values() -> None:
    bank = MeterBank([], ["a"], 1e6, 60.0)
    for second in (0, 1, 2):
        bank.take(BOUNDARY, MeterReading(NOW, -5.0), NOW + second)
    site = FakeSite(Clock())
    site.meters = bank.views(NOW + 3)
    async with local_client(WebContext(site)) as client:
        answer = await client.get("/api/v1/meters")
        (meter,) = msgspec.json.decode(answer.content, type=list[MeterView])
    assert (meter.name, meter.state, meter.is_used, meter.power_w) == ("boundary", "lying", False, None)
    assert meter.reason is not None
    assert "negative" in meter.reason


async def test_a_site_without_meters_answers_an_empty_list() -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        assert (await client.get("/api/v1/meters")).json() == []
