"""A browser and the real server for it. The browser is driven from the test's thread; the server has a thread of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from proxy.web.context import WebContext
from proxy.web.history import Sample, sample_of
from tests.proxy.web.fake_site import FakeSite, api_table
from tests.proxy.web.serving import Clock
from tests.proxy.web.thread_server import ThreadServer

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: install Debian's chromium, or name another in CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)  # a fresh profile each time
        yield browser
        browser.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(clock: Clock) -> FakeSite:
    return FakeSite(clock)


@pytest.fixture(scope="session")
def past() -> list[Sample]:
    """Two hours before the clock's moment, as the sampler would have seen them."""
    clock = Clock()
    site, now = FakeSite(clock), clock.now_unix_s
    samples = []
    for step in range(720):
        clock.now_unix_s = now - 7_200 + step * 10
        samples.append(sample_of(site.view()))
    return samples


@pytest.fixture
def server(site: FakeSite, past: list[Sample]) -> Iterator[ThreadServer]:
    """The site, served, with its past."""
    web = WebContext(site)
    for sample in past:
        web.history.add(sample)
    server = ThreadServer(web)
    server.start()
    yield server
    server.stop()


class Watch:
    """What a page must never do."""

    def __init__(self, page: Page, url: str) -> None:
        self.errors: list[str] = []
        self.outside: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None)
        page.on("request", lambda request: None if request.url.startswith(url) else self.outside.append(request.url))


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1366, "height": 900})
    yield context
    context.close()


@pytest.fixture
def watch(context: BrowserContext, server: ThreadServer) -> tuple[Page, Watch]:
    """A page with fake timers that is open on the site and has drawn its charts."""
    page = context.new_page()
    watch = Watch(page, server.url)
    page.clock.install()
    page.goto(server.url)
    page.wait_for_selector("#heat-chart canvas")
    return page, watch


@pytest.fixture
def page(watch: tuple[Page, Watch]) -> Page:
    return watch[0]


@pytest.fixture
def closed_site(clock: Clock) -> FakeSite:
    """A site that shows nothing without a key."""
    return FakeSite(clock, api_table(open_reads=False))
