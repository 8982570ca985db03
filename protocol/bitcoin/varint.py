"""CompactSize, Bitcoin's variable-length count."""


def encode_compact_size(value: int) -> bytes:
    """The shortest CompactSize of `value` (0 <= value < 2**64)."""
    if value < 0xFD:
        return value.to_bytes(1, "little")
    if value <= 0xFFFF:
        return b"\xfd" + value.to_bytes(2, "little")
    if value <= 0xFFFFFFFF:
        return b"\xfe" + value.to_bytes(4, "little")
    return b"\xff" + value.to_bytes(8, "little")


def decode_compact_size(data: bytes, offset: int = 0) -> tuple[int, int]:
    """Read one CompactSize at `offset`; gives (value, offset after it).

    Raises ValueError when bytes are missing or the form is not the shortest one (Bitcoin Core refuses those too).
    """
    if offset >= len(data):
        raise ValueError("CompactSize: no byte left")
    first = data[offset]
    if first < 0xFD:
        return first, offset + 1
    size = {0xFD: 2, 0xFE: 4, 0xFF: 8}[first]
    end = offset + 1 + size
    if end > len(data):
        raise ValueError("CompactSize: truncated")
    value = int.from_bytes(data[offset + 1 : end], "little")
    if value < {2: 0xFD, 4: 0x10000, 8: 0x100000000}[size]:
        raise ValueError("CompactSize: not the shortest form")
    return value, end
