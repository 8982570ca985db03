"""The coinbase transaction, cut in two around the extranonce."""

# In the serialised transaction: 4 bytes of version, then the marker (where a legacy transaction counts its inputs) and the flag.
_MARKER_AT = 4
_MARKER = 0x00
_FLAG = 0x01
# The witness of a coinbase is one item of 32 bytes (BIP 141), and the lock time of 4 bytes follows it.
_WITNESS_HEAD = b"\x01\x20"
_WITNESS_SIZE = 2 + 32
_LOCKTIME_SIZE = 4


def strip_segwit(prefix: bytes, suffix: bytes) -> tuple[bytes, bytes]:
    """The two parts as they are hashed to a txid: without marker, flag and witness. Parts without them come back unchanged.

    Raises ValueError when the prefix has the marker and the rest of BIP 141 is not where it must be.
    """
    if len(prefix) <= _MARKER_AT + 1 or prefix[_MARKER_AT] != _MARKER:
        return prefix, suffix
    if prefix[_MARKER_AT + 1] != _FLAG:
        raise ValueError("coinbase: a transaction without inputs, or of an unknown form")
    witness_at = len(suffix) - _LOCKTIME_SIZE - _WITNESS_SIZE
    if witness_at < 0 or suffix[witness_at : witness_at + 2] != _WITNESS_HEAD:
        raise ValueError("coinbase: has the BIP 141 marker, but no witness of one item of 32 bytes")
    return (
        prefix[:_MARKER_AT] + prefix[_MARKER_AT + 2 :],
        suffix[:witness_at] + suffix[witness_at + _WITNESS_SIZE :],
    )
