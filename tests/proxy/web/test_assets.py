"""The page's files: complete, unchanged where vendored, and asking nothing of other sites."""

import base64
import hashlib
import re
from pathlib import Path

import pytest

from proxy.web.assets import load
from proxy.web.context import WebContext
from tests.proxy.web.fake_site import FakeSite
from tests.proxy.web.serving import Clock, local_client

STATIC = Path("proxy/web/static")
ASSETS = load()
OURS = [path for path in ASSETS if not path.startswith("vendor/")]


def test_everything_in_the_folder_is_served() -> None:
    on_disk = {str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file()}
    assert set(ASSETS) == on_disk


def test_vendored_files_are_the_published_ones() -> None:
    record = (STATIC / "vendor/VENDORED.md").read_text()
    sums = dict(re.findall(r"\| (\S+) \| ([A-Za-z0-9+/]{86}==) \|", record))
    vendored = {path.removeprefix("vendor/") for path in ASSETS if path.startswith("vendor/uplot") and "LICENSE" not in path}
    assert set(sums) == vendored
    for path, expected in sums.items():
        digest = hashlib.sha512(ASSETS[f"vendor/{path}"].content).digest()
        assert base64.b64encode(digest).decode() == expected, path
    assert b"MIT License" in ASSETS["vendor/uplot/LICENSE.txt"].content


@pytest.mark.parametrize("path", OURS)
def test_our_files_ask_nothing_of_other_sites(path: str) -> None:
    text = ASSETS[path].content.decode().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|//cdn|@import", text)


@pytest.mark.parametrize("path", [path for path in OURS if path.endswith(".html")])
def test_pages_hold_no_inline_script_or_style_which_the_csp_would_refuse(path: str) -> None:
    text = ASSETS[path].content.decode()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)


def test_every_file_a_page_names_exists() -> None:
    for path in OURS:
        text = ASSETS[path].content.decode()
        for name in re.findall(r'(?:src|href)="/static/([^"]+)"', text):
            assert name in ASSETS, (path, name)
        for name in re.findall(r'from "\./([^"]+)"', text):
            assert name in ASSETS, (path, name)


def test_every_colour_stands_in_the_tokens() -> None:
    for path in OURS:
        if path.endswith((".css", ".js")) and path != "tokens.css":
            assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?![\w-])|\brgb\(|\bhsl\(", ASSETS[path].content.decode()), path


async def test_an_unchanged_file_costs_a_304() -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        first = await client.get("/static/app.js")
        again = await client.get("/static/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["../server.py", "..%2fserver.py", "%2e%2e/%2e%2e/config.py", "vendor/../app.js", "nothing.js"])
async def test_no_path_leads_out_of_the_page(path: str) -> None:
    async with local_client(WebContext(FakeSite(Clock()))) as client:
        answer = await client.get(f"/static/{path}")
    assert answer.status_code == 404 or answer.content == ASSETS["app.js"].content
