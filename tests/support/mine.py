"""Solving a job that came over the wire, the way a miner does: from the lines alone."""

import hashlib
import itertools
import struct

from protocol.bitcoin.target import target_from_difficulty


def _sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def solve(
    hello: dict[str, object], job: dict[str, object], difficulty: float, *, first: int = 0, version_bits: int | None = None
) -> list[str]:
    """Parameters of a submit, after the worker name, for the answer to subscribe and a notify; nonces from `first` on."""
    _, extranonce1, size = hello["result"]  # type: ignore[misc]  # the form of SV1
    job_id, prev, coinbase1, coinbase2, path, version, nbits, ntime, _ = job["params"]  # type: ignore[misc]
    target = target_from_difficulty(difficulty)
    extranonce2 = bytes(size)
    root = _sha256d(bytes.fromhex(coinbase1) + bytes.fromhex(extranonce1) + extranonce2 + bytes.fromhex(coinbase2))
    for branch in path:
        root = _sha256d(root + bytes.fromhex(branch))
    prev_hash = b"".join(bytes.fromhex(prev)[i : i + 4][::-1] for i in range(0, 32, 4))
    rolled = int(version, 16) if version_bits is None else int(version, 16) & ~0x1FFFE000 | version_bits
    head = struct.pack("<I", rolled) + prev_hash + root + struct.pack("<II", int(ntime, 16), int(nbits, 16))
    for nonce in itertools.count(first):
        if int.from_bytes(_sha256d(head + struct.pack("<I", nonce)), "little") <= target:
            bits = [] if version_bits is None else [f"{version_bits:08x}"]
            return [job_id, extranonce2.hex(), ntime, f"{nonce:08x}", *bits]
    raise AssertionError("unreachable")
