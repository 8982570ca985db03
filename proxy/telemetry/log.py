"""Logging: structlog to JSON lines on standard output, one event a line, safe to read in a terminal and to keep.

`configure` is called once by the command line; everybody else only says `log = structlog.get_logger()`. This module does
not rotate, ship or filter by content: standard output belongs to systemd or the container.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import BinaryIO

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

REDACTED = "[redacted]"
SECRET_WORDS = frozenset({"password", "passphrase", "token", "key", "secret", "authorization"})
TEXT_LIMIT = 4_096  # one fact from a peer must not fill the disk
TRACEBACK_LIMIT = 32_768
DEPTH_LIMIT = 6

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

# C0, DEL, C1, line and paragraph separator, and the marks that reorder text on a screen: a peer's name must not forge a line,
# colour a terminal or hide its own end.
_CONTROLS = [*range(0x00, 0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROLS}
_TRACEBACK_ESCAPES = {code: text for code, text in _ESCAPES.items() if code not in (0x09, 0x0A)}


def escape(text: str, limit: int = TEXT_LIMIT, table: Mapping[int, str] = _ESCAPES) -> str:
    """`text` with every control character written as an escape, cut to `limit` characters."""
    cut = text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
    return cut.translate(table)


def is_secret(name: str) -> bool:
    """True for `password`, `api_key`, `X-Api-Key`, `tls.token`: the last word of the name decides."""
    return name.lower().replace("-", "_").replace(".", "_").rsplit("_", 1)[-1] in SECRET_WORDS


def _clean(value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value[: TEXT_LIMIT // 2]).hex()
    if depth >= DEPTH_LIMIT:
        return escape(repr(value))
    if isinstance(value, Mapping):
        return {escape(str(k)): REDACTED if is_secret(str(k)) else _clean(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth + 1) for item in value]
    return escape(str(value))


def redact(_logger: WrappedLogger, _method: str, facts: EventDict) -> MutableMapping[str, object]:
    """structlog processor: secrets out, control characters escaped, sizes bounded. Runs before tracebacks are rendered."""
    held = facts.pop("exc_info", None)
    cleaned = {escape(name): REDACTED if is_secret(name) else _clean(value, 0) for name, value in facts.items()}
    if held is not None:
        cleaned["exc_info"] = held
    return cleaned


def _bound_traceback(_logger: WrappedLogger, _method: str, facts: EventDict) -> EventDict:
    """Tracebacks carry text of peers too; only their line ends stay."""
    text = facts.get("exception")
    if isinstance(text, str):
        facts["exception"] = escape(text[-TRACEBACK_LIMIT:], TRACEBACK_LIMIT, _TRACEBACK_ESCAPES)
    return facts


def _render(_logger: WrappedLogger, _method: str, facts: EventDict) -> bytes:
    try:
        return orjson.dumps(facts, default=str)
    except orjson.JSONEncodeError:  # an int beyond 64 bits, a lone surrogate: say it anyway
        return orjson.dumps({name: ascii(value) for name, value in facts.items()})


class _FromLibraries(logging.Handler):
    """Lets records of libraries that use the standard library's logging come out in the same shape."""

    def emit(self, record: logging.LogRecord) -> None:
        log: FilteringBoundLogger = structlog.get_logger()
        level = "debug" if record.levelno < logging.INFO else record.levelname.lower()
        report = {"warning": log.warning, "error": log.error, "critical": log.error, "debug": log.debug}.get(level, log.info)
        report("library.logged", logger=record.name, text=record.getMessage(), exc_info=record.exc_info)


def configure(level: str, stream: BinaryIO | None = None) -> None:
    """Send all logs of the process at `level` (debug, info, warning, error) and above to `stream` (default: standard output).

    Called again (a reload), it counts for everybody from the next line on. Raises KeyError for an unknown level. Writing blocks
    when the reader of standard output does; systemd's journal does not.
    """
    threshold = LEVELS[level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            redact,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _bound_traceback,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(stream if stream is not None else sys.stdout.buffer),
        # A logger that is kept keeps its level too, whatever a reload says; finding it anew costs 2 us, and shares are not logged.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_FromLibraries()]
    root.setLevel(max(threshold, logging.WARNING))
