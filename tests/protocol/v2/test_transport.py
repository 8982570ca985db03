"""Frames through ciphers and in the clear: any cut of the stream, any changed, missing, repeated or moved byte, and the bounds."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2 import codec
from protocol.v2.cipher import RESERVED_NONCE
from protocol.v2.header import CHANNEL_BIT, MAX_PAYLOAD, pack_header
from protocol.v2.transport import MAX_BLOCK, SEALED_HEADER_SIZE, Frame, FrameTransport, NoiseTransport, PlainTransport
from tests.support.noise_pair import session_pair

SHARE = 0x1A
LIMIT = 200_000
KINDS = ("noise", "plain")


def up_to(limit: int) -> Callable[[int, int], int]:
    return lambda extension_type, message_type: limit


def pair(kind: str, limit: int = LIMIT) -> tuple[FrameTransport, FrameTransport]:
    """(client's, server's) end."""
    if kind == "plain":
        return PlainTransport(up_to(limit)), PlainTransport(up_to(limit))
    client, server = session_pair()
    return NoiseTransport(client, up_to(limit)), NoiseTransport(server, up_to(limit))


def frame(payload: bytes, word: int = CHANNEL_BIT, message_type: int = SHARE) -> bytes:
    return pack_header(word, message_type, len(payload)) + payload


def drain(transport: FrameTransport) -> list[Frame]:
    return list(iter(transport.next_frame, None))


def sealed_size(length: int) -> int:
    full, rest = divmod(length, MAX_BLOCK)
    return SEALED_HEADER_SIZE + full * 65_535 + (rest + 16 if rest else 0)


# ---- what arrives


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [0, 1, 24, MAX_BLOCK - 1, MAX_BLOCK, MAX_BLOCK + 1, 2 * MAX_BLOCK, 2 * MAX_BLOCK + 1, 140_000])
def test_payloads_around_the_block_size_arrive(kind: str, length: int) -> None:
    client, server = pair(kind)
    payload = bytes(range(256)) * (length // 256 + 1)
    wire = client.seal(frame(payload[:length]))
    assert len(wire) == (sealed_size(length) if kind == "noise" else 6 + length)
    server.feed(wire)
    assert drain(server) == [Frame(0, True, SHARE, payload[:length])]
    assert type(drain(server)) is list
    assert server.buffered == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_frame_there_can_be_arrives_in_pieces(kind: str) -> None:
    client, server = pair(kind, MAX_PAYLOAD)
    wire = client.seal(frame(bytes(MAX_PAYLOAD)))
    for start in range(0, len(wire), 262_144):
        assert server.next_frame() is None
        server.feed(wire[start : start + 262_144])
    assert server.next_frame() == Frame(0, True, SHARE, bytes(MAX_PAYLOAD))


@pytest.mark.parametrize("kind", KINDS)
def test_the_channel_bit_is_told_apart_from_the_extension(kind: str) -> None:
    client, server = pair(kind)
    for word in (0x0000, 0x8000, 0x0001, 0x8001, 0x7FFF, 0xFFFF):
        server.feed(client.seal(frame(b"x", word, 0xFF)))
    assert [(each.extension_type, each.is_channel) for each in drain(server)] == [
        (0, False),
        (0, True),
        (1, False),
        (1, True),
        (0x7FFF, False),
        (0x7FFF, True),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_both_directions_run_by_themselves(kind: str) -> None:
    client, server = pair(kind)
    for number in range(3):
        client.feed(server.seal(frame(b"job %d" % number)))
    server.feed(client.seal(frame(b"share")))
    assert [each.payload for each in drain(client)] == [b"job 0", b"job 1", b"job 2"]
    assert [each.payload for each in drain(server)] == [b"share"]


PAYLOADS = st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([MAX_BLOCK, MAX_BLOCK + 1, 70_000]).map(bytes)), max_size=5)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(payloads=PAYLOADS, cuts=st.lists(st.floats(0, 1), max_size=12), mutable=st.booleans())
def test_cutting_the_stream_anywhere_changes_no_frame(kind: str, payloads: list[bytes], cuts: list[float], mutable: bool) -> None:
    client, server = pair(kind)
    wire = b"".join(client.seal(frame(payload)) for payload in payloads)
    edges = [0, *sorted(int(cut * len(wire)) for cut in cuts), len(wire)]
    found: list[Frame] = []
    for begin, end in itertools.pairwise(edges):
        piece = wire[begin:end]
        server.feed(bytearray(piece) if mutable else piece)
        found += drain(server)
    assert [each.payload for each in found] == payloads
    assert server.buffered == 0


@pytest.mark.parametrize("kind", KINDS)
def test_byte_by_byte_and_many_in_one_piece_give_the_same(kind: str) -> None:
    client, server = pair(kind)
    payloads = [bytes([number]) * number for number in range(40)]
    wire = b"".join(client.seal(frame(payload)) for payload in payloads)
    found = []
    for value in wire:
        server.feed(bytes([value]))
        found += drain(server)
    _, at_once = pair(kind)
    at_once.feed(wire)
    assert drain(at_once) == found
    assert [each.payload for each in found] == payloads


@pytest.mark.parametrize("kind", KINDS)
def test_frames_not_yet_taken_survive_the_next_feed(kind: str) -> None:
    client, server = pair(kind)
    wire = b"".join(client.seal(frame(b"frame %d" % number)) for number in range(4))
    server.feed(wire[: 2 * len(wire) // 3])
    first = server.next_frame()
    assert first is not None
    server.feed(wire[2 * len(wire) // 3 :])
    assert [each.payload for each in [first, *drain(server)]] == [b"frame 0", b"frame 1", b"frame 2", b"frame 3"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_fed_is_kept_even_when_the_callers_buffer_changes(kind: str) -> None:
    client, server = pair(kind)
    received = bytearray(client.seal(frame(b"share")))
    server.feed(received)
    received[:] = bytes(len(received))
    assert [each.payload for each in drain(server)] == [b"share"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_cut_off_anywhere_gives_the_whole_frames_and_no_error(kind: str) -> None:
    client, _ = pair(kind)
    wires = [client.seal(frame(payload)) for payload in (b"first", b"", b"the third")]
    ends = list(itertools.accumulate(len(wire) for wire in wires))
    for cut in range(ends[-1] + 1):
        _, server = pair(kind)
        server.feed(b"".join(wires)[:cut])
        whole = sum(end <= cut for end in ends)
        assert [each.payload for each in drain(server)] == [b"first", b"", b"the third"][:whole]
        assert (server.buffered == 0) is (cut in (0, *ends)) or kind == "noise" or cut - (0, *ends)[whole] == 6


# ---- what is refused


def test_a_bit_flipped_anywhere_is_refused_before_its_frame_comes_out() -> None:
    client, _ = pair("noise")
    wires = [client.seal(frame(payload)) for payload in (b"a share of 24 bytes, full", b"", b"!")]
    ends = list(itertools.accumulate(len(wire) for wire in wires))
    good = b"".join(wires)
    for offset in range(len(good)):
        for bit in range(8):
            _, server = pair("noise")
            changed = bytearray(good)
            changed[offset] ^= 1 << bit
            server.feed(changed)
            for _ in range(sum(end <= offset for end in ends)):
                assert server.next_frame() is not None
            with pytest.raises(RemoteProtocolError, match="MAC"):
                server.next_frame()


def test_a_bit_flipped_in_a_later_block_of_a_long_payload_is_refused() -> None:
    wire = pair("noise")[0].seal(frame(bytes(MAX_BLOCK + 100)))
    for offset in (SEALED_HEADER_SIZE + 7, SEALED_HEADER_SIZE + 65_535, len(wire) - 1):
        _, server = pair("noise")
        server.feed(wire[:offset] + bytes([wire[offset] ^ 1]) + wire[offset + 1 :])
        with pytest.raises(RemoteProtocolError, match="MAC"):
            server.next_frame()


@pytest.mark.parametrize(
    "order",
    [order for order in itertools.product(range(3), repeat=3) if order != (0, 1, 2)],
    ids=lambda order: "".join(map(str, order)),
)
def test_frames_repeated_left_out_or_put_in_another_order_are_refused(order: tuple[int, ...]) -> None:
    client, server = pair("noise")
    wires = [client.seal(frame(b"frame %d" % number)) for number in range(3)]
    server.feed(b"".join(wires[number] for number in order))
    right = next(place for place, number in enumerate(order) if place != number)
    for _ in range(right):
        assert server.next_frame() is not None
    with pytest.raises(RemoteProtocolError, match="another order"):
        server.next_frame()


def test_blocks_of_one_frame_cannot_change_places() -> None:
    client, server = pair("noise")
    wire = client.seal(frame(bytes(2 * MAX_BLOCK)))
    header, first, second = wire[:22], wire[22 : 22 + 65_535], wire[22 + 65_535 :]
    server.feed(header + second + first)
    with pytest.raises(RemoteProtocolError, match="MAC"):
        server.next_frame()


def test_what_we_sent_is_not_taken_back() -> None:
    client, _ = pair("noise")
    client.feed(client.seal(frame(b"reflected")))
    with pytest.raises(RemoteProtocolError, match="MAC"):
        client.next_frame()


def test_what_another_session_sealed_is_refused() -> None:
    wire = pair("noise")[1].seal(frame(b"from the server"))
    server = pair("noise")[1]
    server.feed(wire)
    with pytest.raises(RemoteProtocolError, match="MAC"):
        server.next_frame()


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_that_announces_too_much_is_refused_before_a_byte_of_payload_came(kind: str) -> None:
    client, _ = pair(kind, MAX_PAYLOAD)
    asked: list[tuple[int, int]] = []

    def limit(extension_type: int, message_type: int) -> int:
        asked.append((extension_type, message_type))
        return 24

    session = session_pair()[1]
    server = NoiseTransport(session, limit) if kind == "noise" else PlainTransport(limit)
    server.feed(client.seal(frame(bytes(24), 0x8002, 0x1B)))
    assert len(drain(server)) == 1
    wire = client.seal(frame(bytes(25), 0x8002, 0x1B))
    server.feed(wire[: 22 if kind == "noise" else 6])
    with pytest.raises(RemoteProtocolError, match="message 0x1b of extension 0x0002 announces 25 bytes, 24 are allowed"):
        server.next_frame()
    assert asked == [(2, 0x1B), (2, 0x1B)]


@pytest.mark.parametrize(("message_type", "length"), [(0x1F, 139_253), (SHARE, 24), (0x00, 1_000)])
def test_the_codecs_limits_let_the_longest_legal_job_pass_and_no_16_mb_share(message_type: int, length: int) -> None:
    client_session, server_session = session_pair()
    client, server = NoiseTransport(client_session, up_to(0)), NoiseTransport(server_session, codec.max_payload)
    server.feed(client.seal(frame(bytes(length), CHANNEL_BIT, message_type)))
    assert len(drain(server)) == 1
    server.feed(client.seal(frame(bytes(MAX_PAYLOAD), CHANNEL_BIT, message_type))[:SEALED_HEADER_SIZE])
    with pytest.raises(RemoteProtocolError, match="announces 16777215 bytes"):
        server.next_frame()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_lets_only_an_empty_payload_pass(kind: str, limit: int) -> None:
    client, server = pair(kind, limit)
    server.feed(client.seal(frame(b"")) + client.seal(frame(b"x")))
    assert server.next_frame() == Frame(0, True, SHARE, b"")
    with pytest.raises(RemoteProtocolError, match="announces 1 bytes, 0 are allowed"):
        server.next_frame()


def test_the_limit_is_not_even_asked_for_a_header_that_nobody_vouched_for() -> None:
    def limit(extension_type: int, message_type: int) -> int:
        raise AssertionError("asked")

    server = NoiseTransport(session_pair()[1], limit)
    server.feed(bytes(SEALED_HEADER_SIZE))
    with pytest.raises(RemoteProtocolError, match="MAC"):
        server.next_frame()


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_transport_stays_broken_and_holds_nothing(kind: str) -> None:
    client, server = pair(kind, 10)
    server.feed(client.seal(frame(bytes(11))) + client.seal(frame(b"fine")))
    for _ in range(3):
        with pytest.raises(RemoteProtocolError, match="announces 11 bytes"):
            server.next_frame()
        assert server.buffered == 0
        server.feed(client.seal(frame(b"fine")))
    with pytest.raises(LocalProtocolError, match="the transport is broken: frame: message 0x1a"):
        server.seal(frame(b""))


def test_a_mac_that_fails_inside_a_payload_drops_what_was_opened_of_it() -> None:
    client, server = pair("noise")
    wire = client.seal(frame(bytes(MAX_BLOCK + 1)))
    server.feed(wire[:-17])
    assert server.next_frame() is None
    assert server.buffered == MAX_BLOCK
    server.feed(bytes(17))
    with pytest.raises(RemoteProtocolError):
        server.next_frame()
    assert server.buffered == 0


@given(data=st.binary(max_size=300))
def test_random_bytes_give_only_a_remote_error(data: bytes) -> None:
    _, server = pair("noise")
    server.feed(data)
    if len(data) < SEALED_HEADER_SIZE:
        assert server.next_frame() is None
    else:
        with pytest.raises(RemoteProtocolError):
            server.next_frame()


@given(data=st.binary(max_size=300))
def test_random_bytes_in_the_clear_are_frames_or_a_remote_error(data: bytes) -> None:
    _, server = pair("plain", 100)
    server.feed(data)
    try:
        found = drain(server)
    except RemoteProtocolError:
        return
    used = sum(6 + len(each.payload) for each in found)
    assert used <= len(data)
    assert b"".join(frame(e.payload, e.extension_type | e.is_channel << 15, e.message_type) for e in found) == data[:used]


# ---- what we seal


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "wrong",
    [b"", b"\x00\x80\x1a\x00\x00", frame(b"abc")[:-1], frame(b"abc") + b"d", frame(b"a") + frame(b"b"), pack_header(0, 1, 65_536)],
)
def test_what_is_not_exactly_one_frame_is_not_sent(kind: str, wrong: bytes) -> None:
    client, server = pair(kind)
    with pytest.raises(LocalProtocolError, match="not one frame"):
        client.seal(wrong)
    server.feed(client.seal(frame(b"the counters did not move")))
    assert len(drain(server)) == 1


def test_the_same_frame_never_looks_the_same_twice() -> None:
    client, _ = pair("noise")
    assert len({client.seal(frame(b"share")) for _ in range(100)}) == 100


def test_two_transports_of_one_session_share_its_counters() -> None:
    session, _ = session_pair()
    one, other = NoiseTransport(session, up_to(LIMIT)), NoiseTransport(session, up_to(LIMIT))
    assert one.seal(frame(b"share")) != other.seal(frame(b"share"))


def test_the_last_nonce_is_reserved_in_both_directions() -> None:
    assert RESERVED_NONCE == 2**64 - 1
    client_session, server_session = session_pair()
    client, server = NoiseTransport(client_session, up_to(LIMIT)), NoiseTransport(server_session, up_to(LIMIT))
    client_session.sealing._nonce = server_session.opening._nonce = RESERVED_NONCE - 2
    server.feed(client.seal(frame(b"the last one")))
    assert len(drain(server)) == 1
    for _ in range(2):
        with pytest.raises(LocalProtocolError, match="no nonce is left"):
            client.seal(frame(b"one too many"))
    server.feed(bytes(SEALED_HEADER_SIZE))
    with pytest.raises(RemoteProtocolError, match="used up its nonces"):
        server.next_frame()


# ---- memory


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("piece", [1_000, 65_536])
def test_never_more_is_held_than_the_limit_a_block_and_what_was_just_fed(kind: str, piece: int) -> None:
    client, server = pair(kind, 140_000)
    wire = client.seal(frame(bytes(140_000))) + client.seal(frame(bytes(140_000)))
    found = []
    for start in range(0, len(wire), piece):
        server.feed(wire[start : start + piece])
        found += drain(server)
        assert server.buffered <= 140_000 + 65_535
    assert len(found) == 2


def test_an_idle_connection_holds_keys_and_counters_only() -> None:
    client, server = pair("noise")
    assert isinstance(server, NoiseTransport)
    server.feed(client.seal(frame(bytes(100_000))) + client.seal(frame(b"share")))
    assert len(drain(server)) == 2
    assert (server._received._data, server._partial, server._opening._aead, server._sealing._aead) == (b"", None, None, None)
    for part in (server, server._received, server._opening, server._sealing):
        assert not hasattr(part, "__dict__")


def test_frames_already_taken_are_not_held_together_with_an_unfinished_one() -> None:
    client, server = pair("noise")
    assert isinstance(server, NoiseTransport)
    server.feed(client.seal(frame(bytes(10_000))) + client.seal(frame(b"share"))[:10])
    assert len(drain(server)) == 1
    assert (server.buffered, len(server._received._data)) == (10, 10)


@pytest.mark.parametrize("sizes", [[], [0], [24], [0, 24, 0], [MAX_BLOCK], [MAX_BLOCK + 1, 3], [2 * MAX_BLOCK, 0]])
def test_frames_sealed_together_are_the_bytes_of_frames_sealed_one_by_one(sizes: list[int]) -> None:
    frames = [pack_header(0x8000, 0x1B, size) + bytes(size) for size in sizes]
    (client, _), (twin, _) = session_pair(), session_pair()
    together = NoiseTransport(client, up_to(MAX_PAYLOAD)).seal_all(b"".join(frames))
    single = NoiseTransport(twin, up_to(MAX_PAYLOAD))
    assert together == b"".join(single.seal(frame) for frame in frames)


def test_half_a_frame_is_not_sealed() -> None:
    client, _ = session_pair()
    with pytest.raises(LocalProtocolError, match="not whole frames"):
        NoiseTransport(client, up_to(MAX_PAYLOAD)).seal_all(pack_header(0, 0x1B, 9) + bytes(8))
