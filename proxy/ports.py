"""Which ports a site opens for its miners, and what each of them speaks.

Decided once, from the configuration. It does NOT open sockets (reactor.py) and knows no session but by its factory.
"""

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from protocol.v2.identity import ServerIdentity
from protocol.v2.server import max_payload
from proxy.config import Listen
from proxy.downstream.connection import Connection, Session
from proxy.downstream.noise import NoiseTransport
from proxy.downstream.reactor import Port
from proxy.downstream.transport import TlsTransport, Transport
from proxy.errors import ConfigError
from proxy.key_file import read_keys

MakeSession = Callable[[Connection], Session]


def ports_of(listen: Listen, v1: MakeSession, v2: MakeSession, identity: ServerIdentity | None) -> list[Port]:
    """Every port of the site. A port never speaks less than it was configured for. Raises ConfigError, OSError, ssl.SSLError."""
    ports = []
    if listen.v1 is not None:
        ports.append(Port(listen.v1, v1))
    if listen.v1_tls is not None:
        ports.append(Port(listen.v1_tls, v1, _tls(listen)))
    if listen.v2 is not None:
        if identity is None and not listen.v2_plaintext:
            raise ConfigError(["listen.v2 needs listen.v2_identity (`thermostratum keygen FILE`), or v2_plaintext = true"])
        ports.append(Port(listen.v2, v2, None if identity is None else _noise(identity)))
    return ports


def identity_of(listen: Listen, now_unix_s: float) -> ServerIdentity | None:
    """What devices know the site by; None where it has no encrypted V2 port. Raises ConfigError."""
    if listen.v2 is None or listen.v2_plaintext or listen.v2_identity is None:
        return None
    static, authority = read_keys(Path(listen.v2_identity), os.urandom)
    return ServerIdentity.self_signed(static, authority, os.urandom, now_unix_s)


def _tls(listen: Listen) -> Callable[[socket.socket, bytes], Transport]:
    """TLS 1.2 or later for miners; the pair was checked with the configuration."""
    if listen.tls_certificate is None or listen.tls_key is None:
        raise ConfigError(["listen.v1_tls needs listen.tls_certificate and listen.tls_key"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(listen.tls_certificate, listen.tls_key)
    return lambda sock, early: TlsTransport(sock, context, early)


def _noise(identity: ServerIdentity) -> Callable[[socket.socket, bytes], Transport]:
    return lambda sock, early: NoiseTransport(sock, identity, os.urandom, max_payload, early)
