"""The live page in a real browser: offline, readable, honest about age and unknown values, and usable by keyboard."""

import re
from pathlib import Path

import httpx
import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from proxy.heat.demand import MeterReading
from proxy.heat.meters.bank import MeterBank
from proxy.heat.plan import Shortfall
from proxy.views import HoldView
from proxy.web.context import WebContext
from tests.proxy.web.fake_site import KEYS, START_UNIX_S, FakeSite
from tests.proxy.web.serving import Clock
from tests.proxy.web.thread_server import ThreadServer
from tests.support.settled import fake_proofs
from tests.ui.conftest import Watch

pytestmark = pytest.mark.ui
PROBES = Path(__file__).parent / "probes"

CONTRAST = (PROBES / "contrast.js").read_text()
COLOURED = (PROBES / "coloured.js").read_text()
SMALL_TARGETS = (PROBES / "small_targets.js").read_text()
STATES = (PROBES / "states.js").read_text()


def test_the_page_asks_only_its_own_server_and_reports_no_error(watch: tuple[Page, Watch], server: ThreadServer) -> None:
    page, seen = watch
    page.click("#as-table")
    page.click(".scroller th button >> nth=3")
    page.click("#as-map")
    page.locator(".cell").nth(3).click()
    page.click("#theme")
    page.goto(f"{server.url}/schema")
    paths = httpx.get(f"{server.url}/schema/openapi.json", trust_env=False).json()["paths"]
    expect(page.locator("details")).to_have_count(sum(len(operations) for operations in paths.values()))
    page.locator("details").first.click()
    assert seen.outside == []
    assert seen.errors == []


def test_the_site_is_shown_with_units_and_a_past(page: Page, site: FakeSite) -> None:
    view = site.view()
    expect(page.locator("#site-name")).to_have_text("harbour-east")
    expect(page.locator('[data-value="demand_w"]')).to_have_text(f"{(view.heat.demand_w or 0) / 1e6:.2f}MW")
    expect(page.locator('#ladder [aria-current="step"]')).to_have_text("Live")
    expect(page.locator("#pool-table tbody th")).to_have_text(["north", "south", "reserve"])
    expect(page.locator("#conservation")).to_contain_text("Difference 0")
    expect(page.locator("#events li").first).to_contain_text("site.started")
    expect(page.locator(".chart canvas")).to_have_count(6)
    page.wait_for_function("document.querySelector('#share-chart .u-value') !== null")


def test_the_proof_of_heat_names_who_disagrees(page: Page, site: FakeSite) -> None:
    proof = page.locator('[data-value="proof"]')
    expect(proof).to_have_text("agrees within 1.5 %")
    expect(page.locator("#proof-table tbody tr").first).to_contain_text("site")
    site.proofs = fake_proofs()
    expect(proof).to_have_text("loop-4: work, heat differ by 40.0 %")
    expect(proof).to_have_class("verdict abnormal")
    expect(proof).to_have_attribute("title", "units hash without heating")
    expect(page.locator("#proof-table tr.reason")).to_have_text("units hash without heating")


def test_the_plan_is_shown_with_its_price_of_heat_and_what_is_short(page: Page, site: FakeSite) -> None:
    plan = site.view().plan
    assert plan is not None
    assert plan.price_of_heat_per_kwh is not None
    expect(page.locator('[data-value="plan_price"]')).to_have_text(f"{plan.price_of_heat_per_kwh:.4f}EUR/kWh")
    expect(page.locator("#plan-words li.note")).to_have_text(["no electricity price is known from 06:00 UTC on"])
    expect(page.locator("#plan-tank .u-value").nth(1)).to_contain_text("MWh")
    assert site.plan is not None
    short = Shortfall(site.plan.blocks[3].start_unix_s, site.plan.end_unix_s, 2e5, 4e5, False, "heat is short by up to 200.0 kW")
    site.plan = msgspec.structs.replace(site.plan, shortfalls=(short,))
    page.reload()
    expect(page.locator('[data-value="plan_state"]')).to_have_text("something is short")
    expect(page.locator("#plan-words li.abnormal")).to_have_text(["heat is short by up to 200.0 kW"])


def test_standing_alarms_are_listed_as_text(page: Page, site: FakeSite) -> None:
    expect(page.locator("#alarm-panel")).to_be_hidden()
    site.alarms = ("loop north: no flow <b>proven</b>", "plan: heat is short")
    page.reload()
    expect(page.locator("#alarms li > :first-child")).to_have_text(list(site.alarms))
    expect(page.locator("#alarm-count")).to_have_text("2")
    expect(page.locator("#acknowledge")).to_be_hidden()  # what stands cannot be acknowledged away


def test_alarms_that_are_over_are_acknowledged_with_a_key_that_is_not_kept(page: Page, site: FakeSite) -> None:
    site.over_alarms = ("loop north: no flow",)
    page.get_by_role("button", name="Acknowledge").press("Enter")
    expect(page.locator("#acknowledge-note")).to_have_text("This needs an API key.")
    expect(page.get_by_label("Operator's key")).to_be_focused()
    page.keyboard.type(KEYS["viewer"])
    page.keyboard.press("Enter")
    expect(page.locator("#acknowledge-note")).to_contain_text("has the role viewer")
    page.keyboard.type(KEYS["operator"])
    page.keyboard.press("Enter")
    expect(page.locator("#alarm-panel")).to_be_hidden()
    assert site.actions == [("acknowledge", "operator-key")]
    assert page.evaluate("JSON.stringify([sessionStorage, localStorage])").find(KEYS["operator"]) == -1


PLC = HoldView("stop", "modbus 10.20.0.7", 0.0, START_UNIX_S - 3_600, None)
BROKER = HoldView("stop", "mqtt", 0.0, START_UNIX_S - 60, None)
LIMIT = HoldView("manual limit", "anna", 1e6, START_UNIX_S, None)


def test_a_stop_is_released_by_name_and_with_a_reason_and_the_key_is_not_kept(page: Page, site: FakeSite) -> None:
    expect(page.locator("#stop-panel")).to_be_hidden()
    site.holds = (PLC, BROKER, LIMIT)
    expect(page.locator("#stops li > :first-child")).to_have_text(["held by modbus 10.20.0.7", "held by mqtt"])
    expect(page.locator("#stops li .note").first).to_have_text(re.compile(r"^for \d+ h"))
    page.get_by_role("button", name="Release the stop of modbus 10.20.0.7").press("Enter")
    expect(page.get_by_label("Your name")).to_be_focused()
    page.keyboard.press("Enter")  # without a name nothing is sent
    page.keyboard.type("Anna Meier")
    page.get_by_label("Why it is safe").fill("PLC replaced, plant inspected")
    page.keyboard.press("Enter")
    expect(page.locator("#release-note")).to_have_text("This needs an API key.")
    expect(page.get_by_label("Key of an operator")).to_be_focused()
    page.keyboard.type(KEYS["utility"])
    page.keyboard.press("Enter")
    expect(page.locator("#release-note")).to_contain_text("has the role utility")
    assert site.actions == []
    page.keyboard.type(KEYS["operator"])
    page.keyboard.press("Enter")
    expect(page.locator("#stops li > :first-child")).to_have_text(["held by mqtt"])
    expect(page.locator("#release")).to_be_hidden()
    assert site.actions == [("release modbus 10.20.0.7 by Anna Meier: PLC replaced, plant inspected", "operator-key")]
    assert page.evaluate("JSON.stringify([sessionStorage, localStorage])").find(KEYS["operator"]) == -1


def test_a_stop_that_its_sender_takes_back_meanwhile_needs_no_release(page: Page, site: FakeSite) -> None:
    site.holds = (PLC,)
    button = page.get_by_role("button", name="Release the stop of")
    button.click()
    page.get_by_label("Your name").fill("Anna Meier")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#release")).to_be_hidden()
    button.click()
    expect(page.get_by_label("Your name")).to_have_value("")
    site.holds = ()
    expect(page.locator("#stop-panel")).to_be_hidden()
    assert site.actions == []


def test_what_refuses_a_release_is_said(page: Page, site: FakeSite) -> None:
    site.holds, site.refusal = (BROKER,), "mqtt holds no stop; held by: nobody"
    page.evaluate("sessionStorage.setItem('thermostratum.key', 'operator-key-3')")
    page.get_by_role("button", name="Release the stop of mqtt").click()
    page.get_by_label("Your name").fill("Anna Meier")
    page.get_by_label("Why it is safe").fill("inspected")
    page.get_by_role("button", name="Release", exact=True).click()
    expect(page.locator("#release-note")).to_have_text("mqtt holds no stop; held by: nobody")
    expect(page.get_by_label("Key of an operator")).to_be_hidden()


def test_who_asks_is_listed_with_what_he_asked_and_whether_he_is_heard(page: Page, site: FakeSite) -> None:
    site.has_modbus = True
    page.reload()
    lines = page.locator("#signals li")
    expect(lines).to_have_count(2)
    expect(lines.first).to_contain_text("rules")
    expect(lines.first).to_contain_text("(no. 41); heard 4 s ago; 2 refused")
    expect(lines.last.locator(".abnormal")).to_have_text("not there")
    expect(lines.last).to_contain_text("has asked nothing yet; never heard; alive counter stands still")
    expect(lines.last).to_contain_text("no master is connected")


def test_the_rung_is_said_in_words_with_its_reason(page: Page, site: FakeSite) -> None:
    ruling = page.locator("#ruling")
    expect(ruling).to_have_text(re.compile(r"^Live: rest:city-heat rules, for \d+ min"))
    expect(page.locator('[data-value="next_demand"]')).to_contain_text("3 more")
    site.ladder = "FALLBACK"
    expect(ruling).to_have_text("Fallback: no valid demand for 6 min 40 s; the heat curve or the agreed power rules")
    expect(ruling).to_have_class("ruling abnormal")


def test_the_demands_that_wait_are_drawn_beyond_now(page: Page) -> None:
    last_s, seen_s = page.evaluate(
        """() => { const rows = [...document.querySelectorAll("#heat-chart .u-legend tr")].map((row) => row.textContent);
        return [rows.find((row) => row.includes("asked next")), rows.find((row) => row.startsWith("time"))]; }"""
    )
    assert last_s
    # The legend stays at what is known now.
    assert page.locator("#clock").inner_text()[:2] in seen_s


def test_loops_show_their_water_their_cap_and_their_interlock(page: Page, site: FakeSite) -> None:
    rows = page.locator("#loop-table tbody tr:not(.reason)")
    expect(rows).to_have_count(4)
    expect(rows.nth(1)).to_contain_text("clear280 kWnone266 kW72.4 / 58.1 °C88.0 °C640 l/min (98 %)")
    expect(rows.nth(3)).to_contain_text("--72.4 / -- °C")  # no meter of its own
    site.loop_state = "dry"
    expect(rows.nth(1).locator(".abnormal")).to_have_text("no flow: asleep")
    expect(page.locator("#loop-table tr.reason")).to_have_text("loop loop-2: flow lost")


def test_a_unit_whose_word_is_not_believed_says_why_and_what_shares_prove_of_all(page: Page, site: FakeSite) -> None:
    expect(page.locator('[data-value="proven_now"]')).to_have_text("1.00 MW\u00b1 6.0 % of 1.02 MW (214 units)")
    site.doubt = "says 5.2 kW, its shares prove 0.0 to 0.4 kW"
    button = page.locator('#watchlist [data-watch="loop-1-r2-s09"]')
    expect(button).to_have_text(f"loop-1-r2-s09: {site.doubt}")
    button.press("Enter")
    expect(page.locator("#detail")).to_contain_text(f"not believed: {site.doubt}")


def test_units_that_deviate_are_named_first_and_opened_from_there(page: Page) -> None:
    buttons = page.locator("#watchlist button")
    expect(buttons.first).to_have_text("loop-1-r2-s06: fan 2 stopped")
    expect(buttons.nth(2)).to_contain_text("silent for 1 h 5 min")
    buttons.nth(2).press("Enter")
    expect(page.locator("#detail")).to_contain_text("loop-2-r1-s01")
    page.click("#as-table")
    expect(page.locator("#unit-table tbody th").first).to_have_text("loop-1-r2-s06")


def test_meters_are_listed_and_one_that_is_left_out_says_why(page: Page, site: FakeSite) -> None:
    expect(page.locator("#meter-table")).to_be_hidden()
    bank = MeterBank([], ["loop-1"], 2e6, 60.0)
    now = site.view().now_unix_s
    bank.take("boundary", MeterReading(now, 1_200_000.0, 75.0, 45.0, 9.55, 7_000_000.0), now)
    site.meters = bank.views(now + 5)
    for _ in range(3):
        now += 1
        bank.take("boundary", MeterReading(now, -5.0), now)
    site.meters += bank.views(now)
    rows = page.locator("#meter-table tbody tr:not(.reason)")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("1.20 MW")
    expect(rows.first).to_contain_text("75.0 / 45.0 °C")
    expect(rows.last.locator(".abnormal")).to_have_text("lying")
    expect(page.locator("#meter-table tr.reason")).to_contain_text("negative")
    assert page.evaluate(CONTRAST) == []


def test_a_site_that_does_not_plan_shows_no_panel_for_it(page: Page, site: FakeSite) -> None:
    site.plans = False
    page.reload()
    page.wait_for_selector("#heat-chart canvas")
    expect(page.locator("#plan")).to_be_hidden()


def test_without_a_plan_the_reason_stands_there_and_no_picture(page: Page, site: FakeSite) -> None:
    site.plan = None
    page.reload()
    expect(page.locator("#plan-words li.abnormal")).to_contain_text(["nothing is known of the time ahead"])
    expect(page.locator("#plan-pictures")).to_be_hidden()
    expect(page.locator('[data-value="plan_price"]')).to_have_text("--no plan")


def test_the_map_has_a_cell_for_each_unit_and_one_tab_stop(page: Page) -> None:
    expect(page.locator("#map .cell")).to_have_count(228)
    expect(page.locator('#map .cell[tabindex="0"]')).to_have_count(1)
    box = page.locator("#map .cell").first.bounding_box()
    assert box is not None
    assert box["width"] >= 24
    assert box["height"] >= 24


def test_the_map_is_walked_with_the_keyboard_and_a_unit_opened_and_closed(page: Page) -> None:
    page.locator('#map .cell[tabindex="0"]').focus()
    focused = page.locator("#map .cell:focus")
    label = focused.get_attribute("aria-label") or ""
    assert re.fullmatch(r"loop-1-r1-s01, running, level \d, [\d.]+ kW, chip [\d.]+ °C", label)
    page.keyboard.press("ArrowRight")
    expect(focused).to_have_attribute("data-unit", "loop-1-r1-s02")
    first_line = page.locator("#map .cell:focus").bounding_box()
    page.keyboard.press("ArrowDown")
    below = page.locator("#map .cell:focus").bounding_box()
    assert first_line is not None
    assert below is not None
    assert below["y"] > first_line["y"]
    assert abs(below["x"] - first_line["x"]) < 2
    page.keyboard.press("Control+ArrowDown")
    expect(focused).to_have_attribute("data-unit", "loop-2-r1-s01")
    page.keyboard.press("End")
    expect(focused).to_have_attribute("data-unit", "loop-2-r5-s12")
    page.keyboard.press("Enter")
    expect(page.locator("#detail")).to_contain_text("loop-2-r5-s12")
    page.get_by_role("button", name="Close").press("Enter")
    expect(page.locator("#detail")).to_be_hidden()
    expect(focused).to_have_attribute("data-unit", "loop-2-r5-s12")


def test_tab_reaches_the_map_from_the_top_with_a_visible_focus(page: Page) -> None:
    page.locator("body").press("Tab")
    expect(page.locator(":focus")).to_have_class("skip")
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 3
        if "cell" in reached[-1]:
            break
    assert "cell" in reached[-1], reached


def test_map_and_table_say_the_same_of_every_unit(page: Page) -> None:
    page.click("#as-table")
    cells, rows = page.evaluate(STATES)
    assert len(rows) == 228
    assert all(f", {state}" in cells[unit] for unit, state in rows.items())


def test_the_table_sorts_with_unknown_values_last(page: Page) -> None:
    page.click("#as-table")
    page.get_by_role("button", name="Power", exact=True).click()
    expect(page.locator('#unit-table th[aria-sort="ascending"]')).to_have_text("Power")
    column = page.locator("#unit-table tbody tr td:nth-child(4)").all_text_contents()
    assert column[-2:] == ["--", "--"]
    assert column.count("--") == 2


def test_the_filter_leaves_the_units_that_match(page: Page) -> None:
    page.fill("#unit-filter", "loop-2 offline")
    expect(page.locator("#map .cell:not(.dim)")).to_have_count(2)
    page.click("#as-table")
    expect(page.locator("#unit-table tbody tr:visible")).to_have_count(2)


def test_unknown_is_two_dashes_with_a_reason_and_never_zero(site: FakeSite, page: Page) -> None:
    site.has_meter = False
    delivered = page.locator('[data-value="heat_w"]')
    expect(delivered).to_have_text(re.compile(r"^--no meter"))
    expect(delivered).to_have_attribute("data-quality", "unknown")
    expect(page.locator('[data-value="tracking_error"]')).to_contain_text("--")
    expect(page.locator('#map [data-unit="loop-2-r1-s01"]')).to_have_text("?")
    expect(page.locator('#map [data-unit="loop-2-r1-s01"]')).to_have_attribute(
        "aria-label", re.compile("offline.*power unknown, chip unknown")
    )


def test_values_follow_the_site_within_a_message(site: FakeSite, page: Page) -> None:
    site.events.publish("pool.switched", "warning", old="north", new="south")
    expect(page.locator("#events li").first).to_contain_text("pool.switched")
    site.events.publish("heat.setpoint_changed", setpoint_w=1_355_391.7, limiter=None, decision_s=0.0041)
    expect(page.locator("#events li").first).to_contain_text("setpoint 1.36 MW, limiter --, decision 4.10 ms")
    site.problems = ["ledger: cannot write; free the disk"]
    expect(page.locator("#notices")).to_contain_text("free the disk")
    site.problems = []
    expect(page.locator("#notices")).to_be_hidden()


def test_old_data_stay_and_say_that_they_are_old_then_come_back_by_themselves(
    server: ThreadServer, context: BrowserContext, page: Page
) -> None:
    expect(page.locator("body")).to_have_attribute("data-freshness", "live")
    shown = page.locator('[data-value="demand_w"]').inner_text()
    server.stop()
    expect(page.locator("#notices")).to_contain_text("No connection")
    page.clock.fast_forward(12_000)
    expect(page.locator("body")).to_have_attribute("data-freshness", "late")
    expect(page.locator("#link-text")).to_have_text(re.compile(r"data 1\d s old"))
    page.clock.fast_forward(20_000)
    expect(page.locator("body")).to_have_attribute("data-freshness", "stale")
    assert page.locator('[data-value="demand_w"]').inner_text().startswith(shown)
    assert "gradient" in page.evaluate("getComputedStyle(document.querySelector('[data-value=demand_w]')).backgroundImage")
    again = ThreadServer(WebContext(server.web.site), server.url.removeprefix("http://"))  # type: ignore[arg-type]
    again.start()
    try:
        page.clock.fast_forward(10_000)
        expect(page.locator("body")).to_have_attribute("data-freshness", "live")
        expect(page.locator("#notices")).to_be_hidden()
    finally:
        again.stop()


def test_the_content_security_policy_is_there_and_holds(page: Page, server: ThreadServer) -> None:
    answer = page.request.get(server.url)
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    blocked = page.evaluate(
        """() => new Promise((done) => { addEventListener("securitypolicyviolation", (e) => done(e.effectiveDirective));
        const script = document.createElement("script"); script.textContent = "window.ran = 1"; document.body.append(script); })"""
    )
    assert blocked.startswith("script-src")
    assert page.evaluate("window.ran") is None


def test_a_site_without_faults_is_grey(page: Page, site: FakeSite, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock.now_unix_s += 600.0  # it has settled after the last step of the demand
    sound = [unit for unit in site.units() if unit.state == "RUN"]
    monkeypatch.setattr(site, "units", lambda: sound)
    monkeypatch.setattr(site, "_pools", lambda _now: [])
    page.reload()
    page.wait_for_selector("#heat-chart canvas")
    expect(page.locator("#map .cell")).to_have_count(len([unit for unit in sound if unit.power_w is not None]))
    page.evaluate("document.querySelector('#scale').remove()")  # the legend shows every state
    expect(page.locator(".why")).to_have_count(0)
    assert set(page.evaluate(COLOURED)) <= {"key-dash", "gauge-mark", "u-marker"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1366, 390])
def test_the_page_is_readable_in_both_themes_and_at_both_widths(page: Page, scheme: str, width: int, tmp_path: Path) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 844})
    page.locator(".cell").nth(20).click()
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture = tmp_path / f"{scheme}-{width}.png"
    page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 20_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_page_stays_readable_while_much_is_wrong(page: Page, site: FakeSite, scheme: str, width: int) -> None:
    site.alarms = ("loop loop-2 is asleep: its flow fell below 60% of design", "the heat meter is lost", "two sources send demands")
    site.over_alarms = ("loop loop-3 was hot",)
    site.ladder, site.loop_state, site.has_modbus, site.proofs = "FALLBACK", "dry", True, fake_proofs()
    site.doubt = "says 5.2 kW, its shares prove 0.0 to 0.4 kW"
    site.holds = (PLC, BROKER)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 844})
    expect(page.locator("#alarms li")).to_have_count(4)
    page.get_by_role("button", name="Release the stop of mqtt").click()
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(SMALL_TARGETS) == []
    # Hue never stands alone: every abnormal word has its triangle.
    assert page.evaluate(
        "[...document.querySelectorAll('.abnormal')].every((n) => getComputedStyle(n, '::before').content !== 'none')"
    )


def test_nothing_is_cut_off_at_320_pixels_and_targets_stay_large_enough(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 700})
    page.wait_for_function("document.documentElement.scrollWidth <= 320")  # pictures follow a frame later
    small = page.evaluate(SMALL_TARGETS)
    assert small == []


def test_forced_colours_keep_the_states_apart(browser: Browser, server: ThreadServer) -> None:
    context = browser.new_context(forced_colors="active")
    page = context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#heat-chart canvas")
    glyphs = page.evaluate("[...new Set([...document.querySelectorAll('#map .cell')].map((c) => c.textContent))]")
    assert {"", "!", "?", "/", "w"} <= set(glyphs)
    context.close()


def test_a_closed_site_asks_for_a_key_and_opens_with_a_right_one(browser: Browser, closed_site: FakeSite) -> None:
    server = ThreadServer(WebContext(closed_site))
    server.start()
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(server.url)
        page.fill("#key-input", "wrong")
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#key-problem")).to_have_text("This API key is not known.")
        page.fill("#key-input", KEYS["viewer"])
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#site-name")).to_have_text("harbour-east")
        expect(page.locator("#key-form")).to_be_hidden()
        assert KEYS["viewer"] not in page.content()
    finally:
        context.close()
        server.stop()
