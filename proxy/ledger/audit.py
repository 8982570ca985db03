"""The hash chain of the audit table (and of any other): each row's digest covers the row and the digest before it.

Edit, deletion and reorder of rows show; cutting off the newest rows shows against mark "audit", which is written in the same
transaction. It does NOT stop somebody who may rewrite the whole database: for him the head is logged hourly and at the end of a
run, so that a log kept elsewhere contradicts a forged chain.
"""

import hashlib

import msgspec

from proxy.ledger.records import AuditRecord


def genesis(name: str) -> bytes:
    """What the first row of a chain is chained to."""
    return hashlib.sha256(name.encode()).digest()


GENESIS = genesis("thermostratum audit chain 1")


def chain_digest(previous: bytes, audit_id: int, record: AuditRecord) -> bytes:
    """The digest of a row: SHA-256 over the digest before it and the row as canonical JSON (floats by shortest repr)."""
    row = (
        audit_id,
        record.at_unix_s,
        record.actor,
        record.action,
        record.subject,
        record.before,
        record.after,
        record.result,
    )
    return link(previous, row)


def link(previous: bytes, row: tuple[object, ...]) -> bytes:
    """One link of any chain of rows: SHA-256 over the digest before it and the row as canonical JSON."""
    return hashlib.sha256(previous + msgspec.json.encode(row)).digest()
