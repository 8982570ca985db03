"""The curve against the vectors of BIP324 and BIP340."""

import json
from pathlib import Path

import pytest

from protocol.v2 import secp256k1
from protocol.v2.secp256k1 import Party

VECTORS = Path(__file__).parents[2] / "vectors"
DECODE = json.loads((VECTORS / "bip324_ellswift_decode.json").read_text())["vectors"]
XDH = json.loads((VECTORS / "bip324_ellswift_xdh.json").read_text())["vectors"]
# Certificates sign 32 bytes; the four vectors of other lengths are not for us.
SCHNORR = [
    vector for vector in json.loads((VECTORS / "bip340_schnorr.json").read_text())["vectors"] if len(vector["message"]) == 64
]
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
NO_SECRETS = [bytes(32), ORDER.to_bytes(32, "big"), b"\xff" * 32, b"\x01" * 31, b"\x01" * 33, b""]


def test_the_vectors_are_all_here() -> None:
    assert (len(DECODE), len(XDH), len(SCHNORR)) == (76, 7, 15)


@pytest.mark.parametrize("vector", DECODE, ids=lambda vector: vector["comment"])
def test_bip324_encodings_decode_to_their_x(vector: dict[str, str]) -> None:
    assert secp256k1.decode_ellswift(bytes.fromhex(vector["ellswift"])).hex() == vector["x"]


@pytest.mark.parametrize("vector", XDH, ids=lambda vector: vector["in_idx"])
def test_bip324_shared_secrets_are_those_of_the_vectors(vector: dict[str, str]) -> None:
    ours, theirs = bytes.fromhex(vector["in_ellswift_ours"]), bytes.fromhex(vector["in_ellswift_theirs"])
    secret = bytes.fromhex(vector["in_priv_ours"])
    if vector["in_initiating"] == "1":
        shared = secp256k1.shared_secret(ours, theirs, secret, Party.INITIATOR)
    else:
        shared = secp256k1.shared_secret(theirs, ours, secret, Party.RESPONDER)
    assert shared.hex() == vector["mid_shared_secret"]
    assert secp256k1.public_x(secret).hex() == vector["mid_x_ours"]
    assert secp256k1.decode_ellswift(theirs).hex() == vector["mid_x_theirs"]


@pytest.mark.parametrize("vector", SCHNORR, ids=lambda vector: vector["index"])
def test_bip340_signatures_are_made_and_judged_as_the_vectors_say(vector: dict[str, str]) -> None:
    public, message, signature = (bytes.fromhex(vector[name]) for name in ("public key", "message", "signature"))
    assert secp256k1.verify(public, message, signature) is (vector["verification result"] == "TRUE")
    if vector["secret key"]:
        secret = bytes.fromhex(vector["secret key"])
        assert secp256k1.public_x(secret) == public
        assert secp256k1.sign(secret, message, bytes.fromhex(vector["aux_rand"])) == signature


def test_an_encoding_decodes_to_the_key_it_was_made_from_and_randomness_chooses_among_many() -> None:
    secret = bytes(range(1, 33))
    encodings = {secp256k1.encode_ellswift(secret, bytes([number]) * 32) for number in range(8)}
    assert len(encodings) == 8
    assert {secp256k1.decode_ellswift(encoding) for encoding in encodings} == {secp256k1.public_x(secret)}


@pytest.mark.parametrize("secret", NO_SECRETS)
def test_what_is_no_scalar_is_refused_as_a_secret(secret: bytes) -> None:
    with pytest.raises(ValueError):
        secp256k1.public_x(secret)
    with pytest.raises(ValueError):
        secp256k1.encode_ellswift(secret, bytes(32))
    with pytest.raises(ValueError):
        secp256k1.sign(secret, bytes(32), bytes(32))


def test_half_of_all_values_are_no_public_key_and_verify_nothing() -> None:
    on_curve = secp256k1.public_x(b"\x01" * 32)
    assert secp256k1.is_public_x(on_curve)
    signature = secp256k1.sign(b"\x01" * 32, bytes(32), bytes(32))
    assert secp256k1.verify(on_curve, bytes(32), signature)
    for nothing in (bytes(32), b"\xff" * 32, on_curve[:31], b""):
        assert not secp256k1.is_public_x(nothing)
        assert not secp256k1.verify(nothing, bytes(32), signature)
    assert not secp256k1.verify(on_curve, bytes(32), signature[:63])
