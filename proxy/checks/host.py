"""Whether this machine can run a site: files that must be there, certificates that must hold, enough file descriptors.

It only looks, and creates nothing. What the tables mean to each other is `rules`.
"""

import importlib.util
import os
import resource
import ssl
import time
from pathlib import Path

from proxy.checks.accounts import check_account_files
from proxy.checks.report import Report
from proxy.checks.signals import check_signal_files
from proxy.config import SiteConfig
from proxy.descriptors import descriptors_needed
from proxy.errors import ConfigError
from proxy.key_file import read_keys
from proxy.private_file import exposed

_EXPIRY_WARNING_S = 14 * 86_400.0
_X509_NOT_YET_VALID, _X509_EXPIRED = 9, 10  # OpenSSL's X509_V_ERR_* numbers


def check_host(config: SiteConfig, report: Report) -> None:
    """Compare a site, whose paths are absolute, with the machine. Mistakes and warnings end in `report`."""
    _certificate(config, report)
    _identity(config, report)
    for index, pool in enumerate(config.pools):
        if pool.tls_ca is not None:
            _authority(Path(pool.tls_ca), f"pools[{index}].tls_ca", report)
    check_signal_files(config, report)
    check_account_files(config, report)
    _data_dir(Path(config.site.data_dir), report)
    _descriptors(config, report)
    url = config.ledger.url or ""
    if url.startswith("postgresql") and importlib.util.find_spec("psycopg") is None:
        report.mistake("ledger.url", "needs the PostgreSQL driver: pip install --require-hashes -r requirements-postgres.txt")


def _certificate(config: SiteConfig, report: Report) -> None:
    listen = config.listen
    if listen.v1_tls is None:
        for key in ("tls_certificate", "tls_key"):
            if getattr(listen, key) is not None:
                report.warn(f"listen.{key}", "has no effect: v1_tls is not set")
        return
    for key in ("tls_certificate", "tls_key"):
        if getattr(listen, key) is None:
            report.mistake(f"listen.{key}", "is missing; v1_tls needs both tls_certificate and tls_key")
    if listen.tls_certificate is None or listen.tls_key is None:
        return
    certificate, key_file = Path(listen.tls_certificate), Path(listen.tls_key)
    is_readable = _readable(certificate, "listen.tls_certificate", report)
    if not _readable(key_file, "listen.tls_key", report) or not is_readable:
        return
    problem = exposed(key_file)
    if problem is not None:
        report.mistake("listen.tls_key", problem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(certificate, key_file, password=lambda: "")
    except ssl.SSLError as error:
        report.mistake("listen.tls_certificate", f"cannot be used with {key_file.name}: {_reason(error)}")
        return
    _validity(server, certificate, report)


def _identity(config: SiteConfig, report: Report) -> None:
    listen = config.listen
    if listen.v2 is None or listen.v2_plaintext or listen.v2_identity is None:
        return
    try:
        read_keys(Path(listen.v2_identity), os.urandom)
    except ConfigError as error:
        report.mistake("listen.v2_identity", "; ".join(error.problems))


def _reason(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "the key belongs to another certificate"
    return (error.reason or "not PEM, or an encrypted key").lower().replace("_", " ")


def _validity(server: ssl.SSLContext, certificate: Path, report: Report) -> None:
    """Shake hands with ourselves, trusting exactly this certificate: what is left to fail is its dates.

    The standard library decodes a certificate only for a peer that verified it.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(certificate)
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        not_after = _shake_hands(server, client)
    except ssl.SSLCertVerificationError as error:
        why = {_X509_EXPIRED: "has expired; renew it", _X509_NOT_YET_VALID: "is not valid yet; check this machine's clock"}
        report.mistake("listen.tls_certificate", why.get(error.verify_code, f"is refused: {error.verify_message}"))
        return
    left_s = not_after - time.time()
    if left_s < _EXPIRY_WARNING_S:
        report.warn("listen.tls_certificate", f"expires in {left_s / 86_400:.1f} days; renew it")


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> float:
    """Unix time at which the server's certificate ends. Raises SSLCertVerificationError when the client refuses it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (ours, theirs, ours):  # hello, certificate, verdict
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = (ours.getpeercert() or {}).get("notAfter")
    return ssl.cert_time_to_seconds(shown) if isinstance(shown, str) else float("inf")


def _authority(path: Path, key: str, report: Report) -> None:
    if not _readable(path, key, report):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        report.mistake(key, f"{path} holds no PEM certificate")


def _readable(path: Path, key: str, report: Report) -> bool:
    try:
        path.read_bytes()
    except OSError as error:
        report.mistake(key, f"{path} cannot be read: {error.strerror}")
        return False
    return True


def _data_dir(path: Path, report: Report) -> None:
    """The service creates the directory when it may; here only whether it could."""
    if path.exists() and not path.is_dir():
        report.mistake("site.data_dir", f"{path} is not a directory")
        return
    nearest = next(each for each in (path, *path.parents) if each.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        report.warn("site.data_dir", f"{nearest} is not writable for user {os.geteuid()}: run it as the user of the service")


def _descriptors(config: SiteConfig, report: Report) -> None:
    """Every miner and every pool session is one file descriptor."""
    needed = descriptors_needed(config)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        report.warn(
            "listen.max_connections",
            f"needs {needed:,} file descriptors, the limit here is {hard:,}: raise it (LimitNOFILE= or ulimit -n)",
        )
