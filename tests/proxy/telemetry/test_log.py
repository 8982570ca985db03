"""Logs: one JSON line an event, no secrets, nothing a peer can forge or hide."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.log import REDACTED, TEXT_LIMIT, configure, escape, is_secret


@pytest.fixture
def out() -> Iterator[io.BytesIO]:
    root = logging.getLogger()
    before = (root.handlers, root.level)
    stream = io.BytesIO()
    configure("info", stream)
    yield stream
    structlog.reset_defaults()
    root.handlers, root.level = before


def lines(out: io.BytesIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_time_and_level(out: io.BytesIO) -> None:
    structlog.get_logger().info("pool.switched", old="a", new="b", units=228)
    (line,) = lines(out)
    assert line["event"] == "pool.switched"
    assert line["level"] == "info"
    assert (line["old"], line["new"], line["units"]) == ("a", "b", 228)
    assert str(line["timestamp"]).endswith("Z")


def test_events_below_the_level_are_not_written(out: io.BytesIO) -> None:
    structlog.get_logger().debug("line.received", text="x")
    assert out.getvalue() == b""


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(KeyError):
        configure("loud")


@pytest.mark.parametrize(
    "name", ["password", "token", "key", "api_key", "X-API-Key", "tls.token", "Authorization", "client_secret"]
)
def test_secrets_are_redacted_wherever_they_stand(out: io.BytesIO, name: str) -> None:
    assert is_secret(name)
    structlog.get_logger().info("pool.connected", **{name: "hunter2"}, nested={"deep": [{name: "hunter2"}]})
    assert b"hunter2" not in out.getvalue()
    assert out.getvalue().count(REDACTED.encode()) == 2


def test_names_that_only_resemble_secrets_are_kept() -> None:
    assert not is_secret("keys_configured")
    assert not is_secret("monkey")
    assert not is_secret("tokens")


@given(st.text())
def test_no_text_can_begin_a_new_line_or_move_the_cursor(text: str) -> None:
    escaped = escape(text)
    assert escaped.isprintable() or not any(ord(c) < 0x20 or 0x7F <= ord(c) < 0xA0 or c in "\u2028\u2029\u202e" for c in escaped)


def test_a_miner_cannot_forge_a_log_line(out: io.BytesIO) -> None:
    structlog.get_logger().info("miner.subscribed", user_agent='x"}\n{"event":"heat.stopped"}\x1b[2J\u202e\u2028')
    (line,) = lines(out)
    assert line["event"] == "miner.subscribed"
    assert line["user_agent"] == 'x"}\\x0a{"event":"heat.stopped"}\\x1b[2J\\u202e\\u2028'


def test_long_facts_are_cut(out: io.BytesIO) -> None:
    structlog.get_logger().info("miner.authorized", user="a" * 100_000, raw=b"\x00" * 100_000)
    assert len(out.getvalue()) < 3 * TEXT_LIMIT


def test_a_traceback_keeps_its_line_ends_and_escapes_the_rest(out: io.BytesIO) -> None:
    try:
        raise ValueError("bad \x1b[31m name")
    except ValueError as error:
        structlog.get_logger().error("http.failed", exc_info=error)
    (line,) = lines(out)
    assert "Traceback" in str(line["exception"])
    assert "\n" in str(line["exception"])
    assert "\x1b" not in str(line["exception"])


@pytest.mark.parametrize("value", [2**80, float("nan"), "\ud800", object(), {1: {2: {3: {4: {5: {6: {7: {8: 9}}}}}}}}])
def test_whatever_is_logged_a_line_comes_out(out: io.BytesIO, value: object) -> None:
    structlog.get_logger().info("odd.seen", value=value)
    assert len(lines(out)) == 1


def test_records_of_libraries_come_out_in_the_same_shape(out: io.BytesIO) -> None:
    logging.getLogger("hypercorn.error").warning("lost %s", "connection")
    logging.getLogger("hypercorn.error").info("not wanted")
    (line,) = lines(out)
    assert (line["event"], line["text"], line["logger"]) == ("library.logged", "lost connection", "hypercorn.error")
