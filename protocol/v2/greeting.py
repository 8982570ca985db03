"""What a first packet is that is no Noise handshake, so that an operator reads "speaks Stratum V1" and not "bad MAC".

Noise begins with 64 bytes that look random, so only patterns that chance makes less than once in 2**32 are recognised. It does NOT
decide what to do with the peer.
"""

import re
from typing import Final

_PATTERNS: Final = (
    (re.compile(rb'\s*\{\s*"(?:id|method|params|result|error|jsonrpc)"'), "Stratum V1"),
    # frame header of SetupConnection, then protocol 0 to 2 and min_version 2
    (re.compile(rb"\x00\x00\x00..\x00[\x00-\x02]\x02\x00", re.DOTALL), "Stratum V2 without encryption"),
    (re.compile(rb"\x16\x03[\x00-\x04]..\x01\x00", re.DOTALL), "TLS"),
    (re.compile(rb"GET /|POST /|HEAD /|PUT /|OPTIONS |HTTP/1"), "HTTP"),
    (re.compile(rb"PROXY (?:TCP|UNK)|\r\n\r\n\x00\r\nQUIT\n"), "the PROXY protocol"),
)


def other_protocol(first_bytes: bytes) -> str | None:
    """What a peer that sent these first bytes speaks instead of Noise; None when it may be Noise or too few came to tell.

    Worth asking while a handshake message is still incomplete: a miner of another protocol waits for an answer that never comes.
    More bytes never take a verdict back.
    """
    for pattern, name in _PATTERNS:
        if pattern.match(first_bytes):
            return name
    return None
