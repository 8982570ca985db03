"""The real server with its own trio loop in its own thread, for clients that block: browsers and API fuzzers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import trio

from proxy.web.context import WebContext
from proxy.web.server import serve_context
from tests.proxy.web.fake_site import FakeSite


class ThreadServer:
    """`url` to call it by, `web` to look into it; `run_sync` to touch the site on its own thread; `stop` to end it."""

    def __init__(self, web: WebContext, listen: str = "127.0.0.1:0") -> None:
        self.web = web
        self.url = ""
        self._listen = listen
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main,), name="test server")

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        async with trio.open_nursery() as nursery:
            self.url = await nursery.start(partial(serve_context, self.web, self._listen, shutdown=self._stop.wait))
            self._is_up.set()

    def start(self) -> None:
        """Return once the server answers."""
        self._thread.start()
        assert self._is_up.wait(10), "the server did not start"

    def stop(self) -> None:
        """End the server and its thread."""
        if self._thread.is_alive():
            self._token.run_sync_soon(self._stop.set)
            self._thread.join(10)
        assert not self._thread.is_alive(), "the server did not stop"


@contextmanager
def thread_server(site: FakeSite) -> Iterator[ThreadServer]:
    """A running server for the block."""
    server = ThreadServer(WebContext(site))
    server.start()
    try:
        yield server
    finally:
        server.stop()
