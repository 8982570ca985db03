"""The handshake: transcripts with another implementation byte by byte in both roles, every way a server can fail to prove itself,
every byte changed, every state and step."""

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2 import certificate, noise, secp256k1
from protocol.v2.header import pack_header
from protocol.v2.identity import ServerIdentity
from protocol.v2.keys import NoiseKey, encode_authority_key, new_noise_key
from protocol.v2.noise import (
    FIRST_MESSAGE_SIZE,
    INITIATOR,
    RESPONDER,
    SECOND_MESSAGE_SIZE,
    HandshakeState,
    HandshakeStep,
    Initiator,
    Responder,
    Session,
)
from protocol.v2.transport import NoiseTransport
from tests.support.noise_pair import AUTHORITY, EARLIEST, LIFE_S, NOW, OTHER_AUTHORITY, counting_rng, identity, session_pair

VECTORS = Path(__file__).parents[2] / "vectors"
TRANSCRIPTS = json.loads((VECTORS / "noise_nx_interop_sv2tp.json").read_text())["vectors"]
CONSTANTS = {vector["name"]: vector for vector in json.loads((VECTORS / "sv2_constants.json").read_text())["vectors"]}
BROKEN_RNG: Callable[[int], bytes] = bytes


class Transcript:
    """One recorded handshake as bytes."""

    def __init__(self, vector: dict[str, str]) -> None:
        self.act1, self.act2 = bytes.fromhex(vector["act1"]), bytes.fromhex(vector["act2"])
        self.authority_x = bytes.fromhex(vector["authority_x"])
        self.static = NoiseKey(bytes.fromhex(vector["static_sk"]), bytes.fromhex(vector["static_ell"]))
        self.initiator_secret = bytes.fromhex(vector["e_initiator_sk"])
        self.responder_secret = bytes.fromhex(vector["e_responder_sk"])
        self.handshake_hash = bytes.fromhex(vector["handshake_hash"])

    def replay(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Encodings are random choices that the transcript does not explain: take those that were on the wire."""
        recorded = {self.initiator_secret: self.act1, self.responder_secret: self.act2[:64]}
        monkeypatch.setattr(secp256k1, "encode_ellswift", lambda secret, randomness: recorded[secret])

    def initiator_session(self) -> Session:
        initiator = Initiator(self.authority_x, lambda size: self.initiator_secret)
        assert initiator.first_message() == self.act1
        return initiator.receive(self.act2, NOW)


def no_limit(extension_type: int, message_type: int) -> int:
    return 0xFFFFFF


@pytest.fixture(params=TRANSCRIPTS, ids=lambda vector: vector["backend"])
def vector(request: pytest.FixtureRequest) -> dict[str, str]:
    return request.param


def test_the_protocol_name_hashes_to_the_published_value() -> None:
    constant = CONSTANTS["noise_protocol_name"]
    assert constant["ascii"].encode() == noise.PROTOCOL_NAME
    assert hashlib.sha256(noise.PROTOCOL_NAME).hexdigest() == constant["sha256"]
    assert noise._INITIAL_CHAINING_KEY.hex() == constant["sha256"]
    assert noise._INITIAL_HASH.hex() == "922fa32e4f487c0d59caa3bed7899ce3d98db7e13dbd3b7cf2d23dd433dc6104"
    assert (FIRST_MESSAGE_SIZE, SECOND_MESSAGE_SIZE) == (64, 234)


def test_the_client_role_reproduces_the_transcript(vector: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    transcript = Transcript(vector)
    transcript.replay(monkeypatch)
    session = transcript.initiator_session()
    assert session.handshake_hash == transcript.handshake_hash
    assert session.server_x == secp256k1.public_x(transcript.static.secret)
    assert session.is_authenticated
    assert session.certificate is not None
    assert session.certificate.valid_from_unix_s == vector["cert_valid_from"]
    assert session.certificate.not_valid_after_unix_s == vector["cert_not_valid_after"]
    assert (session.sealing._key.hex(), session.opening._key.hex()) == (
        vector["k_initiator_to_responder"],
        vector["k_responder_to_initiator"],
    )


def test_the_server_role_reproduces_the_transcript(vector: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    transcript = Transcript(vector)
    transcript.replay(monkeypatch)
    signed = transcript.initiator_session().certificate
    assert signed is not None
    responder = Responder(transcript.static, lambda: certificate.encode(signed), lambda size: transcript.responder_secret)
    answer, session = responder.receive(transcript.act1)
    assert answer == transcript.act2
    assert session.handshake_hash == transcript.handshake_hash
    assert (session.opening._key.hex(), session.sealing._key.hex()) == (
        vector["k_initiator_to_responder"],
        vector["k_responder_to_initiator"],
    )


def test_frames_of_the_transcript_are_sealed_and_opened_in_both_roles(
    vector: dict[str, list], monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript = Transcript(vector)
    transcript.replay(monkeypatch)
    client_session = transcript.initiator_session()
    signed = client_session.certificate
    assert signed is not None
    responder = Responder(transcript.static, lambda: certificate.encode(signed), lambda size: transcript.responder_secret)
    client = NoiseTransport(client_session, no_limit)
    server = NoiseTransport(responder.receive(transcript.act1)[1], no_limit)
    for recorded in vector["frames"]:
        payload = hashlib.shake_128(b"pl").digest(recorded["payload_len"])
        up = client.seal(pack_header(recorded["ext"], recorded["msg_type"], len(payload)) + payload)
        down = server.seal(pack_header(0, recorded["r2i_msg_type"], len(payload)) + payload)  # the other side always sent 0
        assert (len(up), hashlib.sha256(up).hexdigest()) == (recorded["i2r_wire_len"], recorded["i2r_wire_sha256"])
        assert hashlib.sha256(down).hexdigest() == recorded["r2i_wire_sha256"]
        if recorded["i2r_wire"] is not None:
            assert (up.hex(), down.hex()) == (recorded["i2r_wire"], recorded["r2i_wire"])
        for end, wire, word, message_type in (
            (server, up, recorded["ext"], recorded["msg_type"]),
            (client, down, 0, recorded["r2i_msg_type"]),
        ):
            end.feed(wire)
            frame = end.next_frame()
            assert frame is not None
            assert (frame.extension_type, frame.is_channel, frame.message_type) == (0, word == 0x8000, message_type)
            assert frame.payload == payload


def test_both_roles_of_ours_agree_and_the_client_knows_who_the_server_is() -> None:
    client, server = session_pair()
    assert client.handshake_hash == server.handshake_hash
    assert client.sealing._key == server.opening._key
    assert client.opening._key == server.sealing._key
    assert client.sealing._key != client.opening._key
    assert (client.is_authenticated, client.server_x) == (True, identity().static.public_x)
    assert (server.is_authenticated, server.server_x, server.certificate) == (False, None, None)


def test_no_two_handshakes_share_a_byte_of_key_or_message() -> None:
    server = identity()
    seen: set[bytes] = set()
    for number in range(4):
        initiator = Initiator(AUTHORITY.public_x, counting_rng(f"client {number}"))
        first = initiator.first_message()
        answer, session = Responder(server.static, server.certificate_wire, counting_rng(f"server {number}")).receive(first)
        assert initiator.receive(answer, NOW).handshake_hash == session.handshake_hash
        seen |= {first, answer[:64], answer[64:144], answer[144:], session.sealing._key, session.opening._key}
    assert len(seen) == 4 * 6


# ---- a server that does not prove itself


def handshake_with(server: ServerIdentity, initiator: Initiator, now_unix_s: float = NOW) -> Session:
    answer, _ = Responder(server.static, server.certificate_wire, counting_rng("server")).receive(initiator.first_message())
    return initiator.receive(answer, now_unix_s)


def client(**options: object) -> Initiator:
    return Initiator(AUTHORITY.public_x, counting_rng("client"), **options)  # type: ignore[arg-type]  # keywords by name


def with_version(version: int) -> Callable[[], bytes]:
    return lambda: certificate.encode(
        certificate.issue(AUTHORITY, identity().static.public_x, NOW, LIFE_S, counting_rng("sign"), version)
    )


def test_a_client_without_an_authority_key_is_refused_unless_that_was_allowed() -> None:
    with pytest.raises(LocalProtocolError, match="no authority key"):
        Initiator(None, counting_rng("client"))
    session = handshake_with(identity(), Initiator(None, counting_rng("client"), allow_unauthenticated=True), NOW + 10 * LIFE_S)
    assert not session.is_authenticated
    assert session.server_x == identity().static.public_x
    assert session.certificate is not None


def test_a_key_that_is_given_is_checked_even_where_none_was_needed() -> None:
    initiator = Initiator(OTHER_AUTHORITY.public_x, counting_rng("client"), allow_unauthenticated=True)
    with pytest.raises(RemoteProtocolError, match="not signed by the authority key"):
        handshake_with(identity(), initiator)
    assert initiator.state is HandshakeState.BROKEN


def test_another_authority_is_named_by_the_first_characters_of_the_wanted_key_only() -> None:
    wanted = encode_authority_key(OTHER_AUTHORITY.public_x)
    with pytest.raises(RemoteProtocolError) as caught:
        handshake_with(identity(), Initiator(OTHER_AUTHORITY.public_x, counting_rng("client")))
    assert f"authority key {wanted[:8]}...:" in caught.value.reason
    assert wanted[:12] not in caught.value.reason


def test_a_certificate_for_another_static_key_proves_nothing() -> None:
    signed = certificate.issue(AUTHORITY, new_noise_key(counting_rng("stolen")).public_x, NOW, LIFE_S, counting_rng("sign"))
    initiator = client()
    answer, _ = Responder(identity().static, lambda: certificate.encode(signed), counting_rng("server")).receive(
        initiator.first_message()
    )
    with pytest.raises(RemoteProtocolError, match="not signed by"):
        initiator.receive(answer, NOW)


@pytest.mark.parametrize(
    ("now_unix_s", "reason"),
    [
        (EARLIEST - 11, f"not valid for another 11 s, until unix time {EARLIEST}"),
        (EARLIEST - 10, None),
        (EARLIEST, None),
        (NOW + LIFE_S, None),
        (NOW + LIFE_S + 10, None),
        (NOW + LIFE_S + 11, f"expired 11 s ago, at unix time {NOW + LIFE_S}"),
    ],
)
def test_the_window_is_ten_seconds_wider_on_both_sides(now_unix_s: float, reason: str | None) -> None:
    if reason is None:
        assert handshake_with(identity(), client(), now_unix_s).is_authenticated
    else:
        with pytest.raises(RemoteProtocolError, match=reason):
            handshake_with(identity(), client(), now_unix_s)


def test_the_leeway_is_a_choice() -> None:
    with pytest.raises(RemoteProtocolError, match="expired 1 s ago"):
        handshake_with(identity(), client(leeway_s=0), NOW + LIFE_S + 1)
    assert handshake_with(identity(), client(leeway_s=600), NOW + LIFE_S + 600).is_authenticated


@pytest.mark.parametrize(
    ("version", "allowed", "reason"),
    [
        (0, frozenset({0}), None),
        (1, frozenset({0}), "version 1 is not allowed here \\(allowed: 0\\)"),
        (1, frozenset({0, 1}), None),
        (0, frozenset({1, 2}), "version 0 is not allowed here \\(allowed: 1, 2\\)"),
        (65535, frozenset[int](), "version 65535 is not allowed here \\(allowed: none\\)"),
    ],
)
def test_which_certificate_versions_pass_is_a_choice_for_each_upstream(
    version: int, allowed: frozenset[int], reason: str | None
) -> None:
    initiator = client(certificate_versions=allowed)
    answer, _ = Responder(identity().static, with_version(version), counting_rng("server")).receive(initiator.first_message())
    if reason is None:
        assert initiator.receive(answer, NOW).is_authenticated
    else:
        with pytest.raises(RemoteProtocolError, match=reason):
            initiator.receive(answer, NOW)


def test_by_default_only_version_0_passes() -> None:
    initiator = client()
    answer, _ = Responder(identity().static, with_version(1), counting_rng("server")).receive(initiator.first_message())
    with pytest.raises(RemoteProtocolError, match="version 1 is not allowed"):
        initiator.receive(answer, NOW)


# ---- bytes changed on the way


@pytest.mark.parametrize("offset", range(SECOND_MESSAGE_SIZE))
def test_a_bit_flipped_anywhere_in_the_answer_is_refused(offset: int) -> None:
    for bit in (offset % 8, 7 - offset % 8):
        initiator = client()
        answer = bytearray(
            Responder(identity().static, identity().certificate_wire, counting_rng("server")).receive(initiator.first_message())[0]
        )
        answer[offset] ^= 1 << bit
        with pytest.raises(RemoteProtocolError, match="MAC of the answer does not match"):
            initiator.receive(bytes(answer), NOW)
        assert initiator.state is HandshakeState.BROKEN


@pytest.mark.parametrize("offset", range(FIRST_MESSAGE_SIZE))
def test_a_bit_flipped_in_the_first_message_is_noticed_by_the_client(offset: int) -> None:
    initiator = client()
    first = bytearray(initiator.first_message())
    first[offset] ^= 1 << offset % 8
    answer, _ = Responder(identity().static, identity().certificate_wire, counting_rng("server")).receive(bytes(first))
    with pytest.raises(RemoteProtocolError, match="MAC of the answer"):
        initiator.receive(answer, NOW)


@given(st.binary(min_size=SECOND_MESSAGE_SIZE, max_size=SECOND_MESSAGE_SIZE))
def test_random_answers_give_only_a_remote_error(answer: bytes) -> None:
    initiator = client()
    initiator.first_message()
    with pytest.raises(RemoteProtocolError):
        initiator.receive(answer, NOW)


@settings(max_examples=50)
@given(st.binary(min_size=FIRST_MESSAGE_SIZE, max_size=FIRST_MESSAGE_SIZE))
def test_any_64_bytes_but_another_protocols_get_an_answer(first: bytes) -> None:
    responder = Responder(identity().static, identity().certificate_wire, counting_rng("server"))
    assert len(responder.receive(first)[0]) == SECOND_MESSAGE_SIZE


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (b'{"id": 1, "method": "mining.subscribe", "params": []}', "Stratum V1"),
        (bytes.fromhex("000000 3a0000 00 0200 0200 04000000"), "Stratum V2 without encryption"),
        (b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n", "HTTP"),
    ],
)
def test_another_protocol_is_named_in_either_role(first: bytes, name: str) -> None:
    responder = Responder(identity().static, identity().certificate_wire, counting_rng("server"))
    with pytest.raises(RemoteProtocolError, match=f"^Noise: the peer speaks {name}$"):
        responder.receive(first.ljust(FIRST_MESSAGE_SIZE, b"\x00"))
    assert responder.state is HandshakeState.BROKEN
    initiator = client()
    initiator.first_message()
    with pytest.raises(RemoteProtocolError, match=f"^Noise: the peer speaks {name}$"):
        initiator.receive(first.ljust(SECOND_MESSAGE_SIZE, b"\x00"), NOW)


# ---- states


class Walk:
    """A handshake driven by steps, whatever its state."""

    def __init__(self, table: noise.Table) -> None:
        server = identity()
        self.is_initiator = table is INITIATOR
        self.initiator = client()
        self.responder = Responder(server.static, server.certificate_wire, counting_rng("server"))
        self.first = Initiator(None, counting_rng("client"), allow_unauthenticated=True).first_message()
        self.second = Responder(server.static, server.certificate_wire, counting_rng("server")).receive(self.first)[0]

    @property
    def state(self) -> HandshakeState:
        return self.initiator.state if self.is_initiator else self.responder.state

    def take(self, step: HandshakeStep) -> None:
        if self.is_initiator:
            if step is HandshakeStep.SEND_FIRST:
                self.initiator.first_message()
            else:
                self.initiator.receive(self.second if step is HandshakeStep.RECEIVE_SECOND else bytes(SECOND_MESSAGE_SIZE), NOW)
        else:
            self.responder.receive(self.first if step is HandshakeStep.RECEIVE_FIRST else b"GET / HTTP".ljust(FIRST_MESSAGE_SIZE))


ROADS = {
    (id(INITIATOR), HandshakeState.NEW): [],
    (id(INITIATOR), HandshakeState.AWAITING_SECOND): [HandshakeStep.SEND_FIRST],
    (id(INITIATOR), HandshakeState.COMPLETE): [HandshakeStep.SEND_FIRST, HandshakeStep.RECEIVE_SECOND],
    (id(INITIATOR), HandshakeState.BROKEN): [HandshakeStep.SEND_FIRST, HandshakeStep.BREAK],
    (id(RESPONDER), HandshakeState.NEW): [],
    (id(RESPONDER), HandshakeState.COMPLETE): [HandshakeStep.RECEIVE_FIRST],
    (id(RESPONDER), HandshakeState.BROKEN): [HandshakeStep.BREAK],
}
OWN_STEPS = {
    id(INITIATOR): [HandshakeStep.SEND_FIRST, HandshakeStep.RECEIVE_SECOND, HandshakeStep.BREAK],
    id(RESPONDER): [HandshakeStep.RECEIVE_FIRST, HandshakeStep.BREAK],
}


@pytest.mark.parametrize("table", [INITIATOR, RESPONDER], ids=["initiator", "responder"])
@pytest.mark.parametrize("state", HandshakeState)
@pytest.mark.parametrize("step", HandshakeStep)
def test_every_step_in_every_state_does_what_the_table_says(table: noise.Table, state: HandshakeState, step: HandshakeStep) -> None:
    road = ROADS.get((id(table), state))
    if road is None or step not in OWN_STEPS[id(table)]:
        assert step not in table[state]
        return
    walk = Walk(table)
    for taken in road:
        try:
            walk.take(taken)
        except RemoteProtocolError:
            assert taken is HandshakeStep.BREAK
    assert walk.state is state
    after = table[state].get(step)
    if after is None:
        with pytest.raises(LocalProtocolError, match=f"while the handshake is {state.value}"):
            walk.take(step)
        assert walk.state is state
    elif step is HandshakeStep.BREAK:
        with pytest.raises(RemoteProtocolError):
            walk.take(step)
        assert walk.state is after
    else:
        walk.take(step)
        assert walk.state is after


@pytest.mark.parametrize("table", [INITIATOR, RESPONDER], ids=["initiator", "responder"])
def test_every_state_has_a_row(table: noise.Table) -> None:
    assert set(table) == set(HandshakeState)
    reached = set(itertools.chain.from_iterable(row.values() for row in table.values()))
    assert {HandshakeState.COMPLETE, HandshakeState.BROKEN} <= reached


@pytest.mark.parametrize("size", [0, 1, 63, 65, 233, 235])
def test_a_message_cut_wrong_by_the_caller_changes_nothing(size: int) -> None:
    initiator = client()
    initiator.first_message()
    with pytest.raises(LocalProtocolError, match="234 bytes are due"):
        initiator.receive(bytes(size), NOW)
    assert initiator.state is HandshakeState.AWAITING_SECOND
    responder = Responder(identity().static, identity().certificate_wire, counting_rng("server"))
    with pytest.raises(LocalProtocolError, match="64 bytes are due"):
        responder.receive(bytes(size))
    assert responder.state is HandshakeState.NEW


def test_a_certificate_of_the_wrong_size_is_never_sent() -> None:
    responder = Responder(identity().static, lambda: bytes(73), counting_rng("server"))
    with pytest.raises(LocalProtocolError, match="74 bytes are due, not 73"):
        responder.receive(b"\x01" * FIRST_MESSAGE_SIZE)
    assert responder.state is HandshakeState.NEW


def test_a_random_source_that_gives_zeros_starts_no_handshake() -> None:
    initiator = Initiator(AUTHORITY.public_x, BROKEN_RNG)
    with pytest.raises(LocalProtocolError, match="random source"):
        initiator.first_message()
    assert initiator.state is HandshakeState.NEW
    responder = Responder(identity().static, identity().certificate_wire, BROKEN_RNG)
    with pytest.raises(LocalProtocolError, match="random source"):
        responder.receive(b"\x01" * FIRST_MESSAGE_SIZE)
    assert responder.state is HandshakeState.NEW


def test_the_responder_asks_for_the_certificate_in_force_at_each_handshake() -> None:
    server = identity()
    later = NOW + LIFE_S
    assert server.refresh(later)
    assert handshake_with(server, client(), later + 100).certificate == server.certificate


def test_no_repr_shows_a_key() -> None:
    client_session, _ = session_pair()
    shown = repr(client_session) + repr(msgspec.structs.astuple(client_session))
    assert repr(client_session.sealing._key) not in shown
    assert client_session.sealing._key.hex() not in shown
