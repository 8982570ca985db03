"""Messages to bytes and back: the one door to the generated codecs.

Plaintext only: encryption is in transport, cutting a stream into frames in framing. It does NOT judge who may send what in which
state, nor the channel bit of what was received.
"""

import struct
from collections.abc import Sequence

import msgspec

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2.generated import common, extensions, job_declaration, mining, template_distribution
from protocol.v2.header import CHANNEL_BIT, EXTENSION_MASK, MAX_PAYLOAD, pack_header
from protocol.v2.layouts import LAYOUT_BY_CLASS, LAYOUT_BY_TYPE, LAYOUTS, Subprotocol
from protocol.v2.messages.base import Message, Unknown
from protocol.v2.primitives import TRUNCATED
from protocol.v2.tlv import Tlv, encode_tlvs

# Room for TLVs behind the known fields; those of extensions we did not negotiate are skipped, so they must fit too.
TLV_ALLOWANCE = 1024
# For types we would discard anyway.
MAX_UNKNOWN_PAYLOAD = 4096
_CAPS = {
    Subprotocol.COMMON: 4096,
    Subprotocol.MINING: 256 * 1024,
    Subprotocol.JOB_DECLARATION: MAX_PAYLOAD,
    Subprotocol.TEMPLATE_DISTRIBUTION: MAX_PAYLOAD,
    # A peer that negotiates thousands of extensions is no peer of ours.
    Subprotocol.EXTENSIONS: 4096,
}

_GENERATED = (*common.CODECS, *mining.CODECS, *job_declaration.CODECS, *template_distribution.CODECS, *extensions.CODECS)
_CODECS = {entry.message_class: entry for entry in _GENERATED}
_ENCODERS = {message_class: entry.encode for message_class, entry in _CODECS.items()}
_DECODERS = {(layout.extension_type, layout.message_type): _CODECS[layout.message_class].decode for layout in LAYOUTS}
_HEADS = {layout.message_class: (layout.wire_extension_type, layout.message_type) for layout in LAYOUTS}
_MAX_PAYLOADS = {
    (layout.extension_type, layout.message_type): min(layout.max_size + TLV_ALLOWANCE, _CAPS[layout.subprotocol])
    for layout in LAYOUTS
}
# What the encoders raise for values that a field cannot hold.
_UNFIT = (ValueError, TypeError, OverflowError, AttributeError, struct.error)


def encode_payload(message: Message | Unknown) -> bytes:
    """The payload, `message.rest` included. Raises LocalProtocolError when a value does not fit its field."""
    if isinstance(message, Unknown):
        return message.payload
    try:
        payload = _ENCODERS[type(message)](message)
    except _UNFIT as error:
        raise LocalProtocolError(f"{LAYOUT_BY_CLASS[type(message)].name}: {error}") from error
    return payload + message.rest if message.rest else payload


def encode_frame(message: Message | Unknown, tlvs: Sequence[Tlv] = ()) -> bytes:
    """Header and payload in plaintext; `tlvs` follow the fields (and `message.rest`), ordered by extension.

    Raises LocalProtocolError when a value does not fit its field, or the whole not a frame.
    """
    payload = encode_payload(message)
    if tlvs:
        payload += encode_tlvs(tlvs)
    if len(payload) > MAX_PAYLOAD:
        raise LocalProtocolError(f"a payload of {len(payload)} bytes does not fit a frame")
    extension_type, message_type = _head(message)
    return pack_header(extension_type, message_type, len(payload)) + payload


def decode_payload(extension_type: int, message_type: int, payload: bytes, *, is_channel: bool = False) -> Message | Unknown:
    """The message of one frame. The channel bit, in `extension_type` or beside it, decides nothing; an Unknown remembers it.

    Bytes after the known fields are in `rest` of the result. Raises RemoteProtocolError when the payload is too short or holds
    what its types forbid.
    """
    key = (extension_type & EXTENSION_MASK, message_type)
    decode = _DECODERS.get(key)
    if decode is None:
        return Unknown(key[0], is_channel or extension_type & CHANNEL_BIT != 0, message_type, payload)
    try:
        message, end = decode(payload)
    except struct.error:
        raise RemoteProtocolError(f"{name_of(*key)}: {TRUNCATED}") from None
    except ValueError as error:
        raise RemoteProtocolError(f"{name_of(*key)}: {error}") from None
    if end != len(payload):
        # Rare, and so done to the new message before anybody else has seen it, not by all decoders.
        msgspec.structs.force_setattr(message, "rest", payload[end:])
    return message


def max_payload(extension_type: int, message_type: int) -> int:
    """The longest payload to take for this type, in bytes: to be asked before anything is buffered.

    It is what the fields can make plus room for TLVs, but never more than the cap of the subprotocol; unknown types get little.
    """
    return _MAX_PAYLOADS.get((extension_type & EXTENSION_MASK, message_type), MAX_UNKNOWN_PAYLOAD)


def name_of(extension_type: int, message_type: int) -> str:
    """The specification's name of a type, for logs; numbers when it has none."""
    layout = LAYOUT_BY_TYPE.get((extension_type & EXTENSION_MASK, message_type))
    return layout.name if layout else f"{extension_type & EXTENSION_MASK:#06x}/{message_type:#04x}"


def _head(message: Message | Unknown) -> tuple[int, int]:
    if isinstance(message, Unknown):
        return message.extension_type | (CHANNEL_BIT if message.is_channel else 0), message.message_type
    return _HEADS[type(message)]
