"""How the command speaks: results to standard output, problems to standard error, and system errors in an operator's words."""

import errno
import socket
import sys

from proxy.checks.net import parse_endpoint
from proxy.config import SiteConfig
from proxy.errors import ThermostratumError


class CliError(ThermostratumError):
    """What an operator must know to go on, in one message; the command ends with exit code 1."""


def say(text: str) -> None:
    """A result."""
    sys.stdout.write(f"{text}\n")


def warn(text: str) -> None:
    """Something that works but is probably not meant."""
    sys.stderr.write(f"warning: {text}\n")


def fail(text: str) -> None:
    """Something that does not work."""
    sys.stderr.write(f"error: {text}\n")


def explain(error: OSError | BaseExceptionGroup[BaseException], config: SiteConfig | None) -> str:
    """The message for what the system or the site refused, also from inside an exception group. Re-raises bugs as they are."""
    for leaf in leaves(error):
        if isinstance(leaf, ThermostratumError):
            return str(leaf)
        if isinstance(leaf, OSError) and leaf.errno == errno.EADDRINUSE:
            places = ", ".join(busy_addresses(config)) if config else ""
            what = f"already in use: {places}" if places else "an address to listen on is already in use"
            return f"{what}. Is another thermostratum running here (`thermostratum status`)? Stop it, or listen on another port."
        if isinstance(leaf, OSError) and leaf.errno in (errno.EACCES, errno.EPERM):
            return f"not allowed: {leaf}. Ports below 1024 and the files of other users need rights this user does not have."
        if isinstance(leaf, OSError) and leaf.errno == errno.EADDRNOTAVAIL:
            return f"cannot listen: {leaf.strerror}. This machine does not have the address given in [listen] or [api]."
    raise error


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions that a group holds, at any depth; the exception itself when it is no group."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


def busy_addresses(config: SiteConfig) -> list[str]:
    """Which of the site's addresses somebody else listens on now."""
    found = []
    for text in (config.listen.v1, config.listen.v1_tls, config.listen.v2, config.api.listen):
        endpoint = parse_endpoint(text) if text else None
        if endpoint is None or endpoint.port == 0:
            continue
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((endpoint.host, endpoint.port))
            except OSError:
                found.append(str(text))
    return found
