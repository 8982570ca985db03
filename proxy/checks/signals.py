"""Rules about MQTT, OpenADR and OPC UA in a site file: what belongs together, what travels in the clear, which files are secret,
which names are no API key's.

`check_signals` is pure, like `rules`; `check_signal_files` looks at this machine, like `host`, and creates nothing.
"""

import importlib.util
import re
import ssl
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import msgspec

from proxy.checks.net import Endpoint, is_loopback, parse_endpoint
from proxy.checks.report import Report
from proxy.config import Signals, SiteConfig
from proxy.private_file import exposed

_EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
OPCUA_PORT = 4840
# What comes by a transport has its name as a source: alone, before ":" and a name (MQTT), or before an address (Modbus).
_TRANSPORTS = frozenset(Signals.__struct_fields__) - {"rest"}
# The source of the stop that stands where earlier ones cannot be read is refused too: a person releases that one.
_UNREADABLE = "unreadable-ledger"


def check_signals(config: SiteConfig, report: Report) -> None:
    """[signals.mqtt], [signals.openadr], [signals.opcua], and keys that could pass for them. What is found ends in `report`."""
    _mqtt(config, report)
    _openadr(config, report)
    _opcua(config, report)
    _key_names(config, report)


def check_signal_files(config: SiteConfig, report: Report) -> None:
    """Secrets, certificates and libraries that the signals need. Mistakes end in `report`."""
    mqtt, openadr, opcua = config.signals.mqtt, config.signals.openadr, config.signals.opcua
    for key, path in (("mqtt.password_file", mqtt.password_file), ("openadr.client_secret_file", openadr.client_secret_file)):
        _secret(f"signals.{key}", path, report, is_text=True)
    _secret("signals.opcua.key", opcua.key, report, is_text=False)
    for key, path in (("mqtt.tls_ca", mqtt.tls_ca), ("openadr.tls_ca", openadr.tls_ca)):
        _authority(f"signals.{key}", path, report)
    if opcua.certificate is not None:
        _readable("signals.opcua.certificate", opcua.certificate, report)
    if opcua.listen is not None and importlib.util.find_spec("asyncua") is None:
        report.mistake("signals.opcua.listen", "needs more libraries: pip install --require-hashes -r requirements-opcua.txt")


def _mqtt(config: SiteConfig, report: Report) -> None:
    mqtt, path = config.signals.mqtt, "signals.mqtt"
    if mqtt.broker is None:
        _idle(mqtt, path, "broker", report)
        return
    parts = _address(mqtt.broker, f"{path}.broker", "mqtts://broker.example:8883", report)
    if parts is None:
        return
    if parts.scheme == "mqtt":
        if mqtt.tls_ca is not None:
            report.warn(f"{path}.tls_ca", "has no effect: the broker is mqtt://; TLS is mqtts://")
        if not is_loopback(parts.hostname or ""):
            report.warn(
                f"{path}.broker", "is not encrypted: whoever is on the way can read the password and forge demands; use mqtts://"
            )
    if mqtt.password_file is not None and mqtt.user is None:
        report.mistake(f"{path}.user", "is missing; password_file has the password of an account")
    if mqtt.user is not None and mqtt.password_file is None:
        report.warn(f"{path}.password_file", "is not set: the account has no password")
    if mqtt.topic is not None and (mqtt.topic.startswith(("/", "$")) or mqtt.topic.endswith("/") or "//" in mqtt.topic):
        report.mistake(
            f"{path}.topic", f'"{mqtt.topic}" is no prefix of topics; allowed: levels with / between them, such as heat/hall'
        )


def _openadr(config: SiteConfig, report: Report) -> None:
    openadr, path = config.signals.openadr, "signals.openadr"
    if openadr.url is None:
        _idle(openadr, path, "url", report)
        return
    parts = _address(openadr.url, f"{path}.url", "https://vtn.example/openadr3/3.1.0", report)
    if parts is None:
        return
    if parts.query or parts.fragment:
        report.mistake(f"{path}.url", "must be the base of all paths, without ? and #")
    if parts.scheme == "http":
        if openadr.tls_ca is not None:
            report.warn(f"{path}.tls_ca", "has no effect: the url is http://; TLS is https://")
        if not is_loopback(parts.hostname or ""):
            report.warn(f"{path}.url", "is not encrypted: whoever is on the way can read the secret and forge events; use https://")
    if (openadr.client_id is None) != (openadr.client_secret_file is None):
        missing = "client_id" if openadr.client_id is None else "client_secret_file"
        report.mistake(f"{path}.{missing}", "is missing; an OAuth client has both client_id and client_secret_file")


def _opcua(config: SiteConfig, report: Report) -> None:
    opcua, path = config.signals.opcua, "signals.opcua"
    if opcua.listen is None:
        _idle(opcua, path, "listen", report)
        return
    parts = _address(opcua.listen, f"{path}.listen", "opc.tcp://10.20.0.5:4840/", report)
    for account, digest in opcua.users.items():
        if re.fullmatch(r"[0-9a-f]{64}", digest) is None or digest == _EMPTY_SHA256:
            report.mistake(
                f"{path}.users.{account}", "must be the sha256 of a password, 64 hex digits: printf %s PASSWORD | sha256sum"
            )
    if not opcua.users:
        report.warn(f"{path}.users", "is empty: everybody may read, and nobody may send a demand")
    if (opcua.certificate is None) != (opcua.key is None):
        missing = "certificate" if opcua.certificate is None else "key"
        report.mistake(f"{path}.{missing}", "is missing; encrypted sessions need both certificate and key")
    if parts is None:
        return
    endpoint = Endpoint(parts.hostname or "", parts.port or OPCUA_PORT)
    if opcua.certificate is None and not is_loopback(endpoint.host):
        report.warn(f"{path}.certificate", "is not set: passwords travel unencrypted, and whoever is on the way can forge demands")
    others = (
        ("listen.v1", config.listen.v1),
        ("listen.v1_tls", config.listen.v1_tls),
        ("listen.v2", config.listen.v2),
        ("api.listen", config.api.listen),
        ("signals.modbus.listen", config.signals.modbus.listen),
    )
    for other, text in others:
        taken = None if text is None else parse_endpoint(text)
        if taken is not None and endpoint.overlaps(taken):
            report.mistake(f"{path}.listen", f"{opcua.listen} clashes with {other}; give each its own port")


def _key_names(config: SiteConfig, report: Report) -> None:
    """A stop is taken back by its source, and a key's source is its name."""
    for index, key in enumerate(config.api.keys):
        taken = key.name.lower().partition(":")[0]
        if taken in _TRANSPORTS or key.name == _UNREADABLE:
            whose = "stops after a ledger that cannot be read" if key.name == _UNREADABLE else f"what comes by {taken}"
            report.mistake(
                f"api.keys[{index}].name",
                f'"{key.name}" is how the site names {whose}: this key could take back a stop that is not its own, and the audit'
                " could not tell them apart; name the key after who holds it",
            )


def _address(text: str, path: str, example: str, report: Report) -> SplitResult | None:
    """The parts of a URL with a host and a usable port; None after a mistake was noted."""
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if not parts.hostname or port == 0:
        report.mistake(path, f'"{text}" has no usable host and port; allowed: such as {example}')
        return None
    if parts.username is not None or parts.password is not None:
        report.mistake(path, "has an account in it; keep secrets out of the site file: there is a key for a file of its own")
        return None
    return parts


def _idle(table: msgspec.Struct, path: str, switch: str, report: Report) -> None:
    """Warn of keys that do nothing, because the one that switches the signal on is not set."""
    changed = [key for key in table.__struct_fields__ if getattr(table, key) != getattr(type(table)(), key)]
    for key in changed:
        report.warn(f"{path}.{key}", f"has no effect: {switch} is not set")


def _readable(key: str, name: str, report: Report) -> bytes | None:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        report.mistake(key, f"{name} cannot be read: {error.strerror}")
        return None


def _secret(key: str, name: str | None, report: Report, *, is_text: bool) -> None:
    content = None if name is None else _readable(key, name, report)
    if name is None or content is None:
        return
    problem = exposed(Path(name))
    if problem is not None:
        report.mistake(key, problem)
    elif is_text and not content.strip():
        report.mistake(key, f"{name} is empty; write the secret into it")


def _authority(key: str, name: str | None, report: Report) -> None:
    if name is None or _readable(key, name, report) is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(name)
    except ssl.SSLError:
        report.mistake(key, f"{name} holds no PEM certificate")
