"""Merkle branches against the definition: hash pairs, row by row."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.merkle import coinbase_path, root_from_path

HASHES = st.binary(min_size=32, max_size=32)


def root_by_definition(row: list[bytes]) -> bytes:
    while len(row) > 1:
        if len(row) % 2:
            row = [*row, row[-1]]
        row = [sha256d(row[i] + row[i + 1]) for i in range(0, len(row), 2)]
    return row[0]


@given(st.lists(HASHES, min_size=1, max_size=33))
def test_the_path_of_the_first_leaf_leads_to_the_root(txids: list[bytes]) -> None:
    assert root_from_path(txids[0], coinbase_path(txids)) == root_by_definition(txids)


@given(st.lists(HASHES, min_size=2, max_size=17), HASHES)
def test_the_path_does_not_depend_on_the_coinbase(txids: list[bytes], other: bytes) -> None:
    assert coinbase_path(txids) == coinbase_path([other, *txids[1:]])


def test_a_block_of_one_transaction_has_an_empty_path_and_its_txid_as_root() -> None:
    assert coinbase_path([b"\x07" * 32]) == ()
    assert root_from_path(b"\x07" * 32, ()) == b"\x07" * 32
