"""Merkle trees, from the coinbase's point of view."""

import hashlib
from collections.abc import Iterable, Sequence

from protocol.bitcoin.hashes import sha256d

_EMPTY_COPY = hashlib.sha256().copy


def root_from_path(coinbase_txid: bytes, path: Iterable[bytes]) -> bytes:
    """The merkle root of a block whose first transaction has `coinbase_txid`, given the branch up to the root.

    Written without a call to `sha256d`: twelve branches are twenty-four hashes and this loop is most of a share's cost.
    """
    node = coinbase_txid
    for branch in path:
        inner = _EMPTY_COPY()
        inner.update(node + branch)
        outer = _EMPTY_COPY()
        outer.update(inner.digest())
        node = outer.digest()
    return node


def coinbase_path(txids: Sequence[bytes]) -> tuple[bytes, ...]:
    """The branch for leaf 0 of a block with these txids (the first is the coinbase, its value is not used).

    An odd row repeats its last hash, as consensus does.
    """
    path: list[bytes] = []
    row = list(txids)
    while len(row) > 1:
        path.append(row[1])
        if len(row) % 2:
            row.append(row[-1])
        row = [sha256d(row[i] + row[i + 1]) for i in range(0, len(row), 2)]
    return tuple(path)
