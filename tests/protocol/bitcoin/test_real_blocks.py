"""Blocks that networks accepted, taken apart and put together again."""

import json
from pathlib import Path

import pytest

from protocol.bitcoin.hashes import display_hex, sha256d
from protocol.bitcoin.header import HEADER_SIZE, pack_header, unpack_header
from protocol.bitcoin.merkle import coinbase_path, root_from_path
from protocol.bitcoin.target import target_from_nbits
from protocol.bitcoin.varint import decode_compact_size

VECTORS = Path(__file__).parents[2] / "vectors"
BLOCKS = json.loads((VECTORS / "bitcoin_blocks.json").read_text())["vectors"]
REGTEST = json.loads((VECTORS / "sri_reg_test_block.json").read_text())["vectors"][0]
MINED = json.loads((VECTORS / "node" / "mined_blocks.json").read_text())


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["file"])
def test_a_real_header_unpacks_to_its_fields_and_packs_back(block: dict) -> None:
    header = bytes.fromhex(block["header"])
    version, prev_hash, root, ntime, nbits, nonce = unpack_header(header)
    assert len(header) == HEADER_SIZE
    assert (version, ntime, nbits, nonce) == (block["version"], block["ntime"], block["nbits"], block["nonce"])
    assert (prev_hash.hex(), root.hex()) == (block["prev_hash_wire"], block["merkle_root_wire"])
    assert pack_header(version, prev_hash, root, ntime, nbits, nonce) == header


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["file"])
def test_a_real_block_hash_meets_the_target_of_its_nbits(block: dict) -> None:
    digest = sha256d(bytes.fromhex(block["header"]))
    assert display_hex(digest) == block["hash"]
    assert (int.from_bytes(digest, "little") <= target_from_nbits(block["nbits"])) is block["meets_nbits_target"]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["file"])
def test_the_coinbase_without_witness_gives_the_txid_and_with_its_path_the_root(block: dict) -> None:
    txid = sha256d(bytes.fromhex(block["coinbase_without_bip141"]))
    assert txid.hex() == block["coinbase_txid_wire"]
    path = [bytes.fromhex(branch) for branch in block["merkle_path_wire"]]
    assert root_from_path(txid, path).hex() == block["merkle_root_wire"]


def test_the_regtest_block_of_the_reference_implementation_is_rebuilt() -> None:
    coinbase = bytes.fromhex(REGTEST["coinbase_tx_prefix"] + REGTEST["coinbase_script"] + REGTEST["coinbase_tx_suffix"])
    root = root_from_path(sha256d(coinbase), [bytes.fromhex(branch) for branch in REGTEST["path"]])
    # The vector's hashes are in display order, its path is not.
    prev_hash = bytes.fromhex(REGTEST["prev_hash"])[::-1]
    header = pack_header(REGTEST["version"], prev_hash, root, REGTEST["time"], REGTEST["nbits"], REGTEST["nonce"])
    assert display_hex(root) == REGTEST["merkle_root"]
    assert display_hex(sha256d(header)) == REGTEST["block_hash"]


@pytest.mark.parametrize("name", ["empty_mempool_block", "full_block"])
def test_a_block_that_a_node_accepted_is_rebuilt_from_its_parts(name: str) -> None:
    mined = MINED[name]
    coinbase = bytes.fromhex(mined["prefix"] + mined["extranonce"] + mined["suffix"])
    assert coinbase.hex() == mined["coinbase_stripped"]
    path = [bytes.fromhex(branch) for branch in mined.get("merkle_path", [])]
    assert root_from_path(sha256d(coinbase), path) == unpack_header(bytes.fromhex(mined["header"]))[2]
    block = bytes.fromhex(mined["block"])
    count, offset = decode_compact_size(block, HEADER_SIZE)
    assert block.startswith(bytes.fromhex(mined["header"]))
    assert block[offset:].startswith(bytes.fromhex(mined["coinbase_full"]))
    assert count == (1 if name == "empty_mempool_block" else 22)


def test_the_coinbase_path_of_a_whole_block_leads_to_its_root() -> None:
    template = MINED["full_block"]["template"]
    txids = [bytes(32)] + [bytes.fromhex(tx["txid"])[::-1] for tx in template["transactions"]]
    assert [branch.hex() for branch in coinbase_path(txids)] == MINED["full_block"]["merkle_path"]
