"""What holds for any bytes: no way of cutting them matters, only RemoteProtocolError ends a session, what we say is understood."""

import itertools
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.bitcoin.target import target_from_nbits
from protocol.errors import RemoteProtocolError
from protocol.mining.job import VERSION_MASK_BIP320, Job
from protocol.v1 import messages as m
from protocol.v1.client import ClientConnection
from protocol.v1.miner_requests import decode_request
from protocol.v1.pool_messages import PoolLine, decode_asked
from protocol.v1.server import ServerConnection

GOLDEN = Path(__file__).parents[2] / "golden"
REAL_LINES = sorted(
    {
        row["raw"]
        for name in ("hostile-client_to_ckpool-lhr.jsonl", "hostile-client_to_datum.jsonl", "minerd_to_datum.jsonl")
        for row in map(json.loads, (GOLDEN / name).read_text().splitlines())
        if "raw" in row
    },
    key=len,
)
U32 = st.integers(0, 0xFFFFFFFF)
NAMES = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=40).filter(str.isprintable)
JOB_IDS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=64)
HASHES = st.binary(min_size=32, max_size=32)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=12
)
METHODS = st.sampled_from(
    [
        "mining.subscribe",
        "mining.authorize",
        "mining.configure",
        "mining.submit",
        "mining.extranonce.subscribe",
        "mining.suggest_difficulty",
        "mining.suggest_target",
        "mining.get_transactions",
        "mining.ping",
        "mining.notify",
        "mining.set_difficulty",
        "mining.set_target",
        "mining.set_extranonce",
        "mining.set_version_mask",
        "client.reconnect",
        "client.show_message",
        "client.get_version",
    ]
)
OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "id": SCALARS | VALUES,
        "method": METHODS | VALUES,
        "params": st.lists(VALUES, max_size=10) | VALUES,
        "result": VALUES,
        "error": VALUES,
    },
)
JSON_LINES = (OBJECTS | VALUES).map(lambda value: json.dumps(value).encode())
SOME_LINES = st.lists(
    st.sampled_from([line.encode() for line in REAL_LINES])
    | JSON_LINES
    | st.binary(max_size=30)
    | st.just(b"")
    | st.just(b"x" * 99),
    max_size=8,
)


def session(role: str, segments: list[bytes], limit: int = 5000) -> list[object]:
    """All events, and the reason and reply of the break when there is one."""
    connection = ServerConnection(limit) if role == "server" else ClientConnection(limit)
    if isinstance(connection, ClientConnection):
        connection.configure(VERSION_MASK_BIP320)
        connection.subscribe("ua")
        connection.authorize("a.b", "x")
    found: list[object] = []
    for segment in segments:
        connection.feed(segment)
        try:
            found += iter(connection.next_event, None)
        except RemoteProtocolError as error:
            found.append((error.reason, error.reply))
    return found


@pytest.mark.parametrize("role", ["server", "client"])
@given(lines=SOME_LINES, cuts=st.lists(st.integers(0, 4000), max_size=20), newline=st.sampled_from([b"\n", b"\r\n"]))
@example(lines=[b" \x0b", b"{}"], cuts=[1, 2, 3], newline=b"\n")
@example(lines=[b"", b"!"], cuts=[1, 2], newline=b"\r\n")
def test_cutting_the_stream_anywhere_changes_no_event(role: str, lines: list[bytes], cuts: list[int], newline: bytes) -> None:
    stream = newline.join(lines) + newline
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    assert session(role, [stream[a:b] for a, b in itertools.pairwise(edges)]) == session(role, [stream])


@pytest.mark.parametrize("role", ["server", "client"])
@given(lines=SOME_LINES)
def test_single_bytes_give_the_same_events(role: str, lines: list[bytes]) -> None:
    stream = b"\n".join(lines) + b"\n"
    assert session(role, [stream[i : i + 1] for i in range(len(stream))], 64) == session(role, [stream], 64)


@pytest.mark.parametrize("role", ["server", "client"])
@given(segments=st.lists(st.binary(max_size=60), max_size=6))
def test_random_bytes_give_only_events_or_one_break(role: str, segments: list[bytes]) -> None:
    found = session(role, segments, 80)
    assert sum(isinstance(event, tuple) for event in found) <= 1


@pytest.mark.parametrize("role", ["server", "client"])
@given(lines=st.lists(JSON_LINES, max_size=5))
def test_random_json_gives_only_events_or_one_break(role: str, lines: list[bytes]) -> None:
    found = session(role, [line + b"\n" for line in lines])
    breaks = [event for event in found if isinstance(event, tuple)]
    assert len(breaks) <= 1
    if not breaks:
        assert len(found) == len(lines)


@pytest.mark.parametrize("role", ["server", "client"])
@given(line=st.sampled_from(REAL_LINES), position=st.integers(0, 4000), byte=st.integers(0, 255))
def test_one_wrong_byte_in_a_real_line_gives_an_event_or_a_break(role: str, line: str, position: int, byte: int) -> None:
    damaged = bytearray(line.encode())
    damaged[position % len(damaged)] = byte
    assert session(role, [bytes(damaged) + b"\n"]) or not damaged.strip()


@given(
    params=st.lists(VALUES, max_size=10)
    | st.tuples(*[st.text("0123456789abcdef", max_size=70)] * 4, st.lists(st.text()), *[st.text()] * 3)
)
def test_whatever_a_pool_notifies_only_strict_jobs_come_out(params: list) -> None:
    (event,) = session("client", [json.dumps({"id": None, "method": "mining.notify", "params": params}).encode() + b"\n"])
    if not isinstance(event, m.JobReceived):
        assert isinstance(event, m.Refused)
        return
    assert len(event.prev_hash) == 32
    assert len(event.merkle_path) <= 32
    assert all(len(branch) == 32 for branch in event.merkle_path)
    assert target_from_nbits(event.nbits) > 0


def depth_around_the_limit(line: bytes) -> set[str]:
    outcomes = set()
    for depth in range(700, 1010):
        try:
            event = decode_request(line % (b"[" * depth + b"]" * depth))
            outcomes.add(event.reason if isinstance(event, m.BadRequest) else type(event).__name__)
        except RemoteProtocolError as error:
            outcomes.add(error.reason)
    return outcomes


def test_case_11_nesting_just_around_the_decoders_limit_is_always_named() -> None:
    outcomes = depth_around_the_limit(b'{"id":1,"method":"mining.subscribe","params":["ua",null,%b]}')
    assert outcomes <= {"Subscribe", "parameters nested too deep", "JSON nested too deep"}
    assert "JSON nested too deep" in outcomes


def test_case_11_a_pools_nesting_just_around_the_decoders_limit_is_always_named() -> None:
    outcomes = set()
    for depth in range(700, 1010):
        line = b'{"id":null,"method":"mining.set_difficulty","params":[8,%b]}\n' % (b"[" * depth + b"]" * depth)
        (found,) = session("client", [line])
        outcomes.add(found.reason if isinstance(found, m.Refused) else found)
    assert outcomes == {m.DifficultySet(8.0), ("JSON nested too deep", b"")}
    # A reader called from a deeper stack than the envelope's decoder meets the limit by itself.
    deep = msgspec.Raw(b"[8," + b"[" * 5000 + b"]" * 5000 + b"]")
    refused = decode_asked("mining.set_difficulty", PoolLine(params=deep), 8000)
    assert refused == m.Refused("mining.set_difficulty", "parameters nested too deep")


# ---- what one role says, the other understands


def received_by_server(line: bytes) -> m.ClientEvent:
    (event,) = session("server", [line])
    return event  # type: ignore[return-value]  # a lone event of the server role


def received_by_client(line: bytes) -> m.PoolEvent:
    (event,) = session("client", [line], 262144)
    return event  # type: ignore[return-value]  # a lone event of the client role


@given(NAMES, JOB_IDS, st.binary(max_size=16), U32, U32, st.none() | U32)
def test_a_share_arrives_as_it_was_sent(
    user: str, job_id: str, extranonce2: bytes, ntime: int, nonce: int, bits: int | None
) -> None:
    client = ClientConnection()
    subscribe, authorize = json.loads(client.subscribe("ua"))["id"], json.loads(client.authorize(user, ""))["id"]
    client.feed(b'{"id":%d,"result":[[],"01",4]}\n{"id":%d,"result":true}\n' % (subscribe, authorize))
    assert len(list(iter(client.next_event, None))) == 2
    request_id, line = client.submit(user, job_id, extranonce2, ntime, nonce, bits)
    assert received_by_server(line) == m.Submit(b"%d" % request_id, user, job_id, extranonce2, ntime, nonce, bits)


@given(NAMES, st.none() | NAMES, U32, st.integers(0, 32), st.floats(min_value=1e-9, max_value=1e18))
def test_the_handshake_arrives_as_it_was_sent(name: str, session_id: str | None, mask: int, bits: int, difficulty: float) -> None:
    client = ClientConnection()
    rolling = m.VersionRollingRequest(mask, bits)
    assert received_by_server(client.configure(mask, bits)) == m.Configure(b"1", rolling, None, False, False, ())
    assert received_by_server(client.subscribe(name, session_id)) == m.Subscribe(b"2", name, session_id)
    assert received_by_server(client.authorize(name, name)) == m.Authorize(b"3", name, name)
    assert received_by_server(client.suggest_difficulty(difficulty)) == m.SuggestDifficulty(b"4", difficulty)
    assert received_by_server(client.extranonce_subscribe()) == m.ExtranonceSubscribe(b"5")
    assert received_by_server(client.ping()) == m.Ping(b"6")


JOBS = st.builds(
    Job,
    prev_hash=HASHES,
    version=U32,
    nbits=st.sampled_from([0x207FFFFF, 0x1D00FFFF, 0x170331DB]),
    ntime=U32,
    coinbase_prefix=st.binary(min_size=1, max_size=90).filter(lambda part: part[4:6] != b"\x00\x01"),
    coinbase_suffix=st.binary(min_size=9, max_size=90),
    merkle_path=st.lists(HASHES, max_size=32).map(tuple),
    target=st.just(1),
    network_target=st.just(1),
    version_mask=U32,
    min_ntime=U32,
    max_ntime=U32,
    clean=st.booleans(),
)


@given(JOB_IDS, JOBS, st.booleans())
def test_a_job_arrives_as_it_was_sent(job_id: str, job: Job, clean: bool) -> None:
    assert received_by_client(m.encode_notify(job_id, job, clean)) == m.JobReceived(
        job_id, job.prev_hash, job.coinbase_prefix, job.coinbase_suffix, job.merkle_path, job.version, job.nbits, job.ntime, clean
    )


@given(st.floats(min_value=1e-12, max_value=1e60), st.binary(max_size=16), st.integers(1, 16), U32, NAMES, st.integers(1, 65535))
def test_what_a_pool_says_unasked_arrives_as_it_was_sent(
    difficulty: float, extranonce1: bytes, size: int, mask: int, text: str, port: int
) -> None:
    assert received_by_client(m.encode_set_difficulty(difficulty)) == m.DifficultySet(difficulty)
    assert received_by_client(m.encode_set_extranonce(extranonce1, size)) == m.ExtranonceSet(extranonce1, size)
    assert received_by_client(m.encode_set_version_mask(mask)) == m.VersionMaskSet(mask & VERSION_MASK_BIP320)
    assert received_by_client(m.encode_show_message(text)) == m.MessageShown(text)
    assert received_by_client(m.encode_reconnect("pool.example", port, 1.5)) == m.ReconnectAsked("pool.example", port, 2.0)
    assert received_by_client(m.encode_reconnect(None, None, 0)) == m.ReconnectAsked(None, None, 0.0)


def test_messages_cannot_be_changed_after_they_were_made() -> None:
    event = m.Ping(b"1")
    with pytest.raises(AttributeError):
        event.id = b"2"  # type: ignore[misc]  # that is the point
    assert msgspec.structs.asdict(event) == {"id": b"1"}
