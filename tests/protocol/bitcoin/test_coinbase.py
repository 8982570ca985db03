"""Coinbase parts with and without the fields of BIP 141."""

import json
from pathlib import Path

import pytest

from protocol.bitcoin.coinbase import strip_segwit
from protocol.bitcoin.hashes import sha256d

VECTOR_FILES = Path(__file__).parents[2] / "vectors"
VECTORS = json.loads((VECTOR_FILES / "sri_bip141_strip.json").read_text())["vectors"]
BLOCKS = json.loads((VECTOR_FILES / "bitcoin_blocks.json").read_text())["vectors"]

LEGACY_PREFIX = bytes.fromhex("02000000 01") + bytes(32) + b"\xff\xff\xff\xff\x02\xaa"
SEGWIT_PREFIX = LEGACY_PREFIX[:4] + b"\x00\x01" + LEGACY_PREFIX[4:]
OUTPUTS, WITNESS, LOCKTIME = b"outputs", b"\x01\x20" + bytes(32), b"\x04\x08\x00\x00"


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_reference_implementations_vectors(vector: dict[str, str]) -> None:
    prefix, suffix = bytes.fromhex(vector["coinbase_tx_prefix"]), bytes.fromhex(vector["coinbase_tx_suffix"])
    stripped = strip_segwit(prefix, suffix)
    if vector["expect"] == "unchanged":
        assert stripped == (prefix, suffix)
    else:
        assert stripped == (prefix[:4] + prefix[6:], suffix[:-38] + suffix[-4:])


def test_stripping_leaves_the_legacy_form() -> None:
    assert strip_segwit(SEGWIT_PREFIX, OUTPUTS + WITNESS + LOCKTIME) == (LEGACY_PREFIX, OUTPUTS + LOCKTIME)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["file"])
def test_real_coinbases_become_what_their_txid_is_the_hash_of(block: dict[str, str]) -> None:
    coinbase = bytes.fromhex(block["coinbase_full"])
    prefix, suffix = strip_segwit(coinbase[:50], coinbase[50:])
    assert (prefix + suffix).hex() == block["coinbase_without_bip141"]
    assert sha256d(prefix + suffix).hex() == block["coinbase_txid_wire"]


def test_legacy_form_is_unchanged() -> None:
    assert strip_segwit(LEGACY_PREFIX, OUTPUTS + LOCKTIME) == (LEGACY_PREFIX, OUTPUTS + LOCKTIME)
    assert strip_segwit(b"", b"") == (b"", b"")


@pytest.mark.parametrize(
    ("prefix", "suffix"),
    [
        (SEGWIT_PREFIX[:5] + b"\x02" + SEGWIT_PREFIX[6:], OUTPUTS + WITNESS + LOCKTIME),
        (SEGWIT_PREFIX, OUTPUTS + b"\x02" + WITNESS[1:] + LOCKTIME),
        (SEGWIT_PREFIX, OUTPUTS + b"\x01\x21" + WITNESS[2:] + LOCKTIME),
        (SEGWIT_PREFIX, WITNESS[1:] + LOCKTIME),
        (SEGWIT_PREFIX, b""),
    ],
)
def test_half_of_bip_141_is_refused(prefix: bytes, suffix: bytes) -> None:
    with pytest.raises(ValueError, match="coinbase"):
        strip_segwit(prefix, suffix)
