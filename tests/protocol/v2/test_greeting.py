"""What is recognised as another protocol, and that Noise is not."""

import random

import pytest

from protocol.v2.greeting import other_protocol
from protocol.v2.header import pack_header

GREETINGS = [
    (b'{"id":1,"method":"mining.subscribe","params":["cgminer/4.11"]}\n', "Stratum V1"),
    (b'{"method": "mining.configure", "id": 1}', "Stratum V1"),
    (b'\r\n { "params": [], "id": 0}', "Stratum V1"),
    (b'{"result":null,"error":[20,"Parse error",null],"id":null}', "Stratum V1"),
    (pack_header(0, 0, 58) + bytes.fromhex("00020002000400 0000"), "Stratum V2 without encryption"),
    (pack_header(0, 0, 266) + bytes.fromhex("02020002000000 0000"), "Stratum V2 without encryption"),
    (bytes.fromhex("16030102000100 01fc0303"), "TLS"),
    (bytes.fromhex("16030300f1010000ed0303"), "TLS"),
    (b"GET / HTTP/1.1\r\n", "HTTP"),
    (b"HTTP/1.1 400 Bad Request\r\n", "HTTP"),
    (b"OPTIONS * HTTP/1.1\r\n", "HTTP"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "the PROXY protocol"),
    (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "the PROXY protocol"),
]


@pytest.mark.parametrize(("first", "name"), GREETINGS)
def test_another_protocol_is_recognised_by_its_first_bytes(first: bytes, name: str) -> None:
    assert other_protocol(first) == name
    assert other_protocol(first[:16]) == name


@pytest.mark.parametrize(("first", "name"), GREETINGS)
def test_too_few_bytes_are_not_a_verdict_that_later_ones_change(first: bytes, name: str) -> None:
    verdicts = [other_protocol(first[:size]) for size in range(len(first) + 1)]
    assert set(verdicts) == {None, name}
    assert verdicts == sorted(verdicts, key=lambda verdict: verdict is not None)


def test_random_first_bytes_are_taken_for_noise() -> None:
    chance = random.Random(2)
    assert all(other_protocol(chance.randbytes(64)) is None for _ in range(20_000))
    for start in (b"{", b'{"', b"\x16\x03", b"GET", b"\x00\x00\x00"):
        assert other_protocol(start + chance.randbytes(64)) is None
