"""The page's files, read into memory once: no disk on the event loop, and no path from a request ever reaches a file system."""

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

import msgspec

CONTENT_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".md": "text/markdown",
}


class Asset(msgspec.Struct, frozen=True):
    """One file (text is UTF-8); `etag` is of its content, so a new version is seen at once and an old one costs 304."""

    content: bytes
    content_type: str
    etag: str


def load() -> dict[str, Asset]:
    """Every file of the page by its path below /static, such as `app.js` or `vendor/uplot/uPlot.iife.min.js`."""
    found: dict[str, Asset] = {}
    _collect(resources.files("proxy.web") / "static", "", found)
    return found


def _collect(folder: Traversable, prefix: str, found: dict[str, Asset]) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            _collect(entry, f"{prefix}{entry.name}/", found)
            continue
        suffix = entry.name[entry.name.rfind(".") :]
        content_type = CONTENT_TYPES.get(suffix)
        if content_type is not None:
            content = entry.read_bytes()
            found[prefix + entry.name] = Asset(content, content_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
