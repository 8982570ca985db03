"""One request of the command to the running proxy's API, with errors in an operator's words. No redirects, no retries."""

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from proxy.commands.say import CliError

TIMEOUT_S = 10.0
ANSWER_LIMIT_BYTES = 64 * 1024 * 1024


def call(method: str, url: str, path: str, *, body: Mapping[str, object] | None = None, key_file: Path | None = None) -> bytes:
    """The body of a successful answer. Raises CliError otherwise: cause and remedy."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CliError(f'"{url}" is no address of a proxy; give --url http://host:port')
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {"Accept": "application/json", **_authorization(key_file)}
    payload = None
    if body is not None:
        payload = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    try:
        connection = connect(parts.hostname, parts.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, parts.path.rstrip("/") + path, payload, headers)
            answer = connection.getresponse()
            content = answer.read(ANSWER_LIMIT_BYTES)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CliError(
            f"no answer from {url} ({why}): is the proxy running there? Its address is [api] listen; give it as --url"
        ) from error
    if answer.status >= 300:
        raise CliError(_problem(answer.status, content, url))
    return content


def _authorization(key_file: Path | None) -> dict[str, str]:
    if key_file is None:
        return {}
    try:
        key = key_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(
            f"the key file {key_file} cannot be read: {getattr(error, 'strerror', None) or 'it holds no key'}"
        ) from error
    if not key or not key.isprintable():
        raise CliError(f"the key file {key_file} holds no key; `thermostratum apikey NAME ROLE` makes one")
    return {"Authorization": f"Bearer {key}"}


def _problem(status: int, content: bytes, url: str) -> str:
    """The message of a problem document (RFC 9457); the bare status when it is none."""
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "detail" not in document:
        return f"{url} answered {status}: it is probably not a Thermostratum proxy"
    lines = [str(document["detail"]), *(f"  {line}" for line in document.get("problems", []))]
    remedy = document.get("remedy")
    if status == 401:
        remedy = "Give --key-file with a key from [[api.keys]]; `thermostratum apikey NAME ROLE` makes one."
    return "\n".join([*lines, str(remedy)] if remedy else lines)
