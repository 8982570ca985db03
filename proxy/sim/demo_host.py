"""What the demo asks of the machine it runs on: free ports, enough descriptors; and how it says that something is missing."""

import resource
import socket
from collections.abc import Sequence

from proxy.checks.net import Endpoint, is_wildcard, parse_endpoint
from proxy.errors import ThermostratumError

# A listener and a miner for each unit, its API calls, pools, files.
DESCRIPTORS = 4_096


class DemoError(ThermostratumError):
    """The demo could not start, or something essential failed in it. The text says what, why, and what to do."""


def raise_descriptor_limit() -> None:
    """Allow this process and its children DESCRIPTORS open files, or as many as the machine lets them have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def http_endpoint(listen: str) -> Endpoint:
    """Where page and API are to listen. Raises DemoError for what is no host:port."""
    endpoint = parse_endpoint(listen)
    if endpoint is None or endpoint.port == 0:
        raise DemoError(f'"{listen}" is no address for the page; give host:port, such as 127.0.0.1:8081')
    return endpoint


def browser_url(endpoint: Endpoint) -> str:
    """What to open in a browser on this machine."""
    host = "127.0.0.1" if is_wildcard(endpoint.host) else endpoint.host
    return f"http://[{host}]:{endpoint.port}" if ":" in host else f"http://{host}:{endpoint.port}"


def check_page_port(http: Endpoint) -> None:
    """Raises DemoError when page and API cannot listen where they are to, naming the remedy."""
    if not can_listen(http.host, http.port):
        raise DemoError(
            f"{http.host}:{http.port} is in use, or not an address of this machine: stop what listens there,"
            f" or choose another port: DEMO_LISTEN=127.0.0.1:{http.port + 1} make demo"
        )


def free_port(host: str, ports: Sequence[int]) -> int:
    """The first port of `ports` that nobody listens on. Raises DemoError when there is none."""
    for port in ports:
        if can_listen(host, port):
            return port
    raise DemoError(
        f"no port from {ports[0]} to {ports[-1]} is free on {host}: is another demo running? Stop it."
        " The demo needs the loopback network 127.0.0.0/8, which Linux has."
    )


def can_listen(host: str, port: int) -> bool:
    """Whether a listener could be opened there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def first_failure(group: BaseExceptionGroup[BaseException]) -> ThermostratumError | None:
    """The first thing in a group that is meant for an operator; None when the group is a bug."""
    for error in group.exceptions:
        found = first_failure(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, ThermostratumError):
            return found
    return None
