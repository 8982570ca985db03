"""What the demo asks of its machine, and how it says what is missing."""

import socket

import pytest

from proxy.checks.net import Endpoint
from proxy.errors import ConfigError
from proxy.sim.demo_host import DemoError, browser_url, can_listen, check_page_port, first_failure, free_port, http_endpoint


@pytest.fixture
def taken() -> int:
    """A port of 127.0.0.1 that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_taken_port_is_named_with_its_remedy(taken: int) -> None:
    with pytest.raises(DemoError, match=f"127.0.0.1:{taken} is in use.*DEMO_LISTEN=127.0.0.1:{taken + 1} make demo"):
        check_page_port(Endpoint("127.0.0.1", taken))


def test_the_first_free_port_is_taken_and_none_is_an_error(taken: int) -> None:
    assert not can_listen("127.0.0.1", taken)
    assert free_port("127.0.0.1", range(taken, taken + 50)) > taken
    with pytest.raises(DemoError, match="another demo"):
        free_port("127.0.0.1", [taken])


@pytest.mark.parametrize(
    ("listen", "url"),
    [("127.0.0.1:8080", "http://127.0.0.1:8080"), ("0.0.0.0:81", "http://127.0.0.1:81"), ("[::1]:8080", "http://[::1]:8080")],
)
def test_the_address_to_open_is_one_a_browser_can_open(listen: str, url: str) -> None:
    assert browser_url(http_endpoint(listen)) == url


@pytest.mark.parametrize("listen", ["8080", "127.0.0.1:0", "host:99999", ""])
def test_what_is_no_address_is_refused(listen: str) -> None:
    with pytest.raises(DemoError, match="no address for the page"):
        http_endpoint(listen)


def test_the_reason_for_an_operator_is_found_in_a_group_and_a_bug_is_not_one() -> None:
    reason = ConfigError(["port is taken"])
    group = ExceptionGroup("", [KeyError("x"), ExceptionGroup("", [reason])])
    assert first_failure(group) is reason
    assert first_failure(ExceptionGroup("", [KeyError("x")])) is None
