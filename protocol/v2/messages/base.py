"""What all messages of Stratum V2 have in common.

Classes carry the specification's names without dots, fields its names in snake case. STR and B types are bytes, targets are ints,
hashes 32 bytes in internal order (the order on the wire). Values are NOT checked when a message is made; encoding checks them.
"""

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Base of all: immutable, never part of a cycle.

    rest: the bytes that followed the known fields. They are the TLVs of extensions (see tlv); whoever negotiated none ignores
    them. Encoding writes them back, so what came in can go out unchanged.
    """

    rest: bytes = b""


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """A message type we have no layout for.

    extension_type is without the channel bit. An endpoint discards it, whatever the bit says (specification 3.4).
    """

    extension_type: int
    is_channel: bool
    message_type: int
    payload: bytes
