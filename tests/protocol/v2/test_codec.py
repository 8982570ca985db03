"""The generated codecs against construct, the declared oracle, on random, cut and broken payloads."""

import re
import struct

import construct
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2 import codec
from protocol.v2.codec import decode_payload, encode_frame, encode_payload, max_payload, name_of
from protocol.v2.header import CHANNEL_BIT, HEADER_SIZE, MAX_PAYLOAD, unpack_header
from protocol.v2.layouts import LAYOUT_BY_CLASS, LAYOUTS, Layout
from protocol.v2.messages.base import Message, Unknown
from protocol.v2.messages.common import SetupConnection
from protocol.v2.messages.job_declaration import DeclareMiningJobError, ProvideMissingTransactionsSuccess
from protocol.v2.messages.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannelSuccess,
    SetGroupChannel,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesExtended,
    SubmitSharesStandard,
    SubmitSharesSuccess,
    UpdateChannel,
)
from protocol.v2.tlv import Tlv, user_identity_tlv
from protocol.v2.types import B0_32, BOOL
from tests.support.sv2 import build, messages, parse, sample, unfit

EVERY = st.sampled_from(LAYOUTS).flatmap(lambda layout: messages(layout).map(lambda message: (layout, message)))
ORACLE_ERRORS = (construct.ConstructError, TypeError)


def decode(layout: Layout, payload: bytes) -> Message | Unknown:
    return decode_payload(layout.extension_type, layout.message_type, payload)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@settings(max_examples=40)
@given(data=st.data())
def test_generated_codec_and_construct_agree_on_random_messages(layout: Layout, data: st.DataObject) -> None:
    message = data.draw(messages(layout))
    payload = encode_payload(message)
    assert payload == build(layout, message)
    assert decode(layout, payload) == message == parse(layout, payload)
    assert layout.min_size <= len(payload) <= layout.max_size


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@settings(max_examples=5)
@given(data=st.data())
def test_every_truncation_is_refused_by_both(layout: Layout, data: st.DataObject) -> None:
    payload = encode_payload(data.draw(messages(layout)))
    for cut in {*range(min(len(payload), 80)), *range(max(0, len(payload) - 80), len(payload))}:
        with pytest.raises(RemoteProtocolError):
            decode(layout, payload[:cut])
        with pytest.raises(ORACLE_ERRORS):
            parse(layout, payload[:cut])


@settings(max_examples=300)
@given(st.sampled_from(LAYOUTS), st.binary(max_size=200))
def test_random_bytes_are_judged_alike_by_both(layout: Layout, payload: bytes) -> None:
    try:
        expected = parse(layout, payload)
    except ORACLE_ERRORS:
        with pytest.raises(RemoteProtocolError):
            decode(layout, payload)
        return
    message = decode(layout, payload)
    assert isinstance(message, layout.message_class)
    rest = message.rest
    assert decode(layout, payload[: len(payload) - len(rest)]) == expected
    assert payload.endswith(rest)


@settings(max_examples=100)
@given(EVERY, st.binary(min_size=1, max_size=60))
def test_what_follows_the_fields_is_kept_and_written_back(drawn: tuple[Layout, Message], trailing: bytes) -> None:
    layout, message = drawn
    payload = encode_payload(message) + trailing
    decoded = decode(layout, payload)
    assert isinstance(decoded, layout.message_class)
    assert decoded.rest == trailing
    assert encode_payload(decoded) == payload


@given(EVERY)
def test_frames_have_the_declared_header(drawn: tuple[Layout, Message]) -> None:
    layout, message = drawn
    frame = encode_frame(message)
    header = unpack_header(frame)
    assert (header.extension_type, header.message_type) == (layout.wire_extension_type, layout.message_type)
    assert header.is_channel is layout.is_channel
    assert header.length == len(frame) - HEADER_SIZE
    assert decode_payload(header.extension_type, header.message_type, frame[HEADER_SIZE:]) == message


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_wrong_channel_bit_changes_nothing(layout: Layout) -> None:
    wrong = layout.wire_extension_type ^ CHANNEL_BIT
    assert max_payload(wrong, layout.message_type) == max_payload(layout.extension_type, layout.message_type)
    with pytest.raises(RemoteProtocolError, match=layout.name):
        decode_payload(wrong, layout.message_type, b"")


def test_channel_bit_is_the_most_significant_bit_of_a_little_endian_field() -> None:
    assert encode_frame(SetTarget(1, 2))[:HEADER_SIZE] == bytes.fromhex("0080 21 240000")


# ---- what must not be sent


H = bytes(32)

UNFIT: list[Message] = [
    SubmitSharesSuccess(1, 2, 3, 2**64),
    SubmitSharesStandard(1, 2, 3, 4, -1, 6),
    SubmitSharesStandard(1, 2, 3, 4, 1.0, 6),  # type: ignore[arg-type]  # a caller without mypy
    SubmitSharesExtended(1, 2, 3, 4, 5, 6, bytes(33)),
    SubmitSharesExtended(1, 2, 3, 4, 5, 6, "ab"),  # type: ignore[arg-type]  # as above
    SetNewPrevHash(1, 2, bytes(31), 3, 4),
    SetNewPrevHash(1, 2, bytes(33), 3, 4),
    SetTarget(1, -1),
    SetTarget(1, 2**256),
    SetTarget(1, H),  # type: ignore[arg-type]  # as above
    UpdateChannel(1, float("nan"), 2),
    UpdateChannel(1, float("inf"), 2),
    UpdateChannel(1, -1.0, 2),
    UpdateChannel(1, -0.0, 2),
    UpdateChannel(1, 1e39, 2),
    CloseChannel(1, b"line\nbreak"),
    CloseChannel(1, "größe".encode()),
    CloseChannel(1, bytes([0x7F])),
    CloseChannel(1, b"x" * 256),
    NewMiningJob(1, 2, 2**32, 3, H),
    SetGroupChannel(1, (2**32,)),
    SetGroupChannel(1, tuple(range(65536))),
    ProvideMissingTransactionsSuccess(1, (bytes(2**24),)),
    NewExtendedMiningJob(1, 2, None, 3, True, (H, H[1:]), b"", b""),
    NewExtendedMiningJob(1, 2, None, 3, True, (H[1:], H + b"x"), b"", b""),
    NewExtendedMiningJob(1, 2, None, 3, True, (H,) * 256, b"", b""),
    NewExtendedMiningJob(1, 2, None, 3, True, (), bytes(65536), b""),
    SetupConnection(0, 2, 2, 0, b"h" * 256, 1, b"", b"", b"", b""),
]


@pytest.mark.parametrize("message", UNFIT, ids=lambda message: repr(message)[:60])
def test_values_that_do_not_fit_are_our_own_mistake(message: Message) -> None:
    layout = LAYOUT_BY_CLASS[type(message)]
    with pytest.raises(LocalProtocolError, match=layout.name):
        encode_payload(message)
    with pytest.raises((*ORACLE_ERRORS, OverflowError, struct.error)):
        build(layout, message)


EACH_FIELD = [(layout, name) for layout in LAYOUTS for name, wire_type in layout.fields if wire_type is not BOOL]


@pytest.mark.parametrize(("layout", "name"), EACH_FIELD, ids=lambda part: part if isinstance(part, str) else part.name)
def test_every_field_refuses_what_its_type_forbids(layout: Layout, name: str) -> None:
    message = msgspec.structs.replace(sample(layout), **{name: unfit(dict(layout.fields)[name])})
    with pytest.raises(LocalProtocolError, match=re.escape(layout.name)):
        encode_payload(message)
    with pytest.raises((*ORACLE_ERRORS, OverflowError, struct.error)):
        build(layout, message)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_last_byte_is_needed(layout: Layout) -> None:
    payload = encode_payload(sample(layout))
    assert decode(layout, payload) == sample(layout)
    for cut in range(len(payload)):
        with pytest.raises(RemoteProtocolError, match=re.escape(layout.name)):
            decode(layout, payload[:cut])


def test_payload_that_no_frame_can_hold_is_refused() -> None:
    transactions = ProvideMissingTransactionsSuccess(1, (bytes(2**23), bytes(2**23)))
    with pytest.raises(LocalProtocolError, match="does not fit a frame"):
        encode_frame(transactions)


def test_the_largest_job_fits_its_cap() -> None:
    job = NewExtendedMiningJob(1, 2, 3, 4, True, (H,) * 255, bytes(65535), bytes(65535))
    payload = encode_payload(job)
    assert len(payload) == 139_253
    assert decode_payload(0, 0x1F, payload) == job
    assert len(payload) <= max_payload(0, 0x1F)


# ---- what must not be taken


def job_payload(*, option: int = 0, rolling: int = 1) -> bytes:
    return struct.pack("<IIB", 1, 2, option) + struct.pack("<I", 9) * option + struct.pack("<IBBHH", 3, rolling, 0, 0, 0)


def test_option_with_two_elements_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="NewExtendedMiningJob: an OPTION with more than one element"):
        decode_payload(0, 0x1F, job_payload(option=2))


@pytest.mark.parametrize(("octet", "expected"), [(0, False), (1, True), (2, False), (3, True), (0xFE, False), (0xFF, True)])
def test_only_the_lowest_bit_of_a_bool_counts(octet: int, expected: bool) -> None:
    job = decode_payload(0, 0x1F, job_payload(rolling=octet))
    assert isinstance(job, NewExtendedMiningJob)
    assert job.version_rolling_allowed is expected


def test_absent_min_ntime_is_one_zero_byte() -> None:
    job = decode_payload(0, 0x1F, job_payload())
    assert isinstance(job, NewExtendedMiningJob)
    assert job.min_ntime is None
    assert encode_payload(job) == job_payload()


@pytest.mark.parametrize(
    "layout", [layout for layout in LAYOUTS if B0_32 in dict(layout.fields).values()], ids=lambda layout: layout.name
)
def test_extranonces_of_33_bytes_are_refused(layout: Layout) -> None:
    before, after = encode_payload(sample(layout)).split(b"\x0asome bytes")
    with pytest.raises(RemoteProtocolError, match="more than 32 bytes"):
        decode(layout, before + bytes([33]) + bytes(33) + after)
    message = decode(layout, before + bytes([32]) + bytes(32) + after)
    assert bytes(32) in [getattr(message, name) for name, wire_type in layout.fields if wire_type is B0_32]


@pytest.mark.parametrize("hash_rate", [float("nan"), float("inf"), float("-inf"), -1.0, -0.0])
def test_hash_rates_that_are_none_are_refused(hash_rate: float) -> None:
    with pytest.raises(RemoteProtocolError, match="UpdateChannel: nominal_hash_rate"):
        decode_payload(0, 0x16, struct.pack("<If", 1, hash_rate) + bytes(32))


def test_hash_rate_zero_means_no_units_yet() -> None:
    assert decode_payload(0, 0x16, bytes(40)) == UpdateChannel(0, 0.0, 0)


def test_strings_of_any_bytes_are_taken() -> None:
    code = b"\xff\x00\n"
    assert decode_payload(0, 0x18, bytes(4) + bytes([3]) + code) == CloseChannel(0, code)


def test_targets_are_little_endian() -> None:
    message = decode_payload(0, 0x21, bytes(4) + b"\x01" + bytes(31))
    assert message == SetTarget(0, 1)


def test_blobs_and_details_cut_short_are_refused() -> None:
    short = encode_payload(DeclareMiningJobError(1, b"invalid-version", b"details"))[:-1]
    with pytest.raises(RemoteProtocolError, match=r"DeclareMiningJob\.Error: truncated"):
        decode_payload(0, 0x59, short)


# ---- types we have no layout for


@pytest.mark.parametrize("extension_type", [0x0000, 0x8000, 0x4001, 0xC001])
def test_unknown_types_are_kept_byte_for_byte(extension_type: int) -> None:
    unknown = decode_payload(extension_type, 0x1E, b"\x01\x02")
    assert unknown == Unknown(extension_type & 0x7FFF, extension_type >= 0x8000, 0x1E, b"\x01\x02")
    assert unknown == decode_payload(extension_type & 0x7FFF, 0x1E, b"\x01\x02", is_channel=extension_type >= 0x8000)
    frame = encode_frame(unknown)
    assert unpack_header(frame).extension_type == extension_type
    assert frame[HEADER_SIZE:] == encode_payload(unknown) == b"\x01\x02"


def test_type_of_an_extension_is_not_taken_for_a_core_message() -> None:
    assert isinstance(decode_payload(0x0002, 0x21, bytes(36)), Unknown)


def test_names_for_logs() -> None:
    assert name_of(0x8000, 0x1C) == "SubmitShares.Success"
    assert name_of(0x0001, 0x00) == "RequestExtensions"
    assert name_of(0x8003, 0x07) == "0x0003/0x07"


# ---- sizes, before anything is buffered


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_caps_leave_room_for_every_message_and_its_tlvs_or_are_the_subprotocols(layout: Layout) -> None:
    cap = max_payload(layout.extension_type, layout.message_type)
    assert cap == min(layout.max_size + codec.TLV_ALLOWANCE, codec._CAPS[layout.subprotocol])
    assert layout.min_size + 5 + 32 <= cap <= MAX_PAYLOAD


def test_caps_are_small_where_anybody_may_send() -> None:
    assert max_payload(0, 0x00) == 1291 + 1024
    assert max_payload(0x8000, 0x1A) == 24 + 1024
    assert max_payload(0, 0x25) == 256 * 1024
    assert max_payload(1, 0x00) == 4096
    assert max_payload(0, 0x57) < 3_000_000
    assert max_payload(0, 0x74) == MAX_PAYLOAD
    assert max_payload(0, 0x52) == max_payload(0x7001, 0x00) == codec.MAX_UNKNOWN_PAYLOAD


# ---- TLVs behind a message


def test_tlvs_follow_the_fields_and_come_back_in_rest() -> None:
    share = SubmitSharesExtended(1, 2, 3, 4, 5, 6, b"abcd")
    frame = encode_frame(share, [user_identity_tlv("hall-1.unit-7")])
    header = unpack_header(frame)
    assert header.extension_type == 0x8000
    decoded = decode_payload(header.extension_type, header.message_type, frame[HEADER_SIZE:])
    assert isinstance(decoded, SubmitSharesExtended)
    assert decoded.rest == bytes.fromhex("020001 0d00") + b"hall-1.unit-7"
    assert encode_frame(decoded) == frame
    assert encode_frame(decoded, [Tlv(3, 1, b"")]) == encode_frame(share, [user_identity_tlv("hall-1.unit-7"), Tlv(3, 1, b"")])


def test_small_messages_have_the_sizes_of_the_specification() -> None:
    sizes = {
        24: SubmitSharesStandard(1, 2, 3, 4, 5, 6),
        29: SubmitSharesExtended(1, 2, 3, 4, 5, 6, b"abcd"),
        20: SubmitSharesSuccess(1, 2, 3, 4),
        36: SetTarget(1, 2),
        48: SetNewPrevHash(1, 2, H, 3, 4),
        45: NewMiningJob(1, 2, None, 3, H),
        49: NewMiningJob(1, 2, 0, 3, H),
        47: OpenExtendedMiningChannelSuccess(1, 2, 3, 4, b"", 5),
    }
    for size, message in sizes.items():
        assert len(encode_payload(message)) == size, message
    twelve = NewExtendedMiningJob(1, 2, 3, 4, True, (H,) * 12, bytes(110), bytes(64))
    assert len(encode_payload(twelve)) == 18 + (1 + 12 * 32) + (2 + 110) + (2 + 64)
