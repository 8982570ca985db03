"""The one share check: real blocks, the reference implementation's verdicts, and every edge of every rule."""

import json
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bitcoin.hashes import display_hex, sha256d
from protocol.bitcoin.header import unpack_header
from protocol.bitcoin.target import DIFFICULTY_1_TARGET, MAX_TARGET, target_from_nbits
from protocol.mining.job import VERSION_MASK_BIP320, Job
from protocol.mining.share import Verdict, check_share, hash_share

VECTORS = Path(__file__).parents[2] / "vectors"
BLOCKS = json.loads((VECTORS / "bitcoin_blocks.json").read_text())["vectors"]
REGTEST = json.loads((VECTORS / "sri_reg_test_block.json").read_text())["vectors"][0]
MINED = json.loads((VECTORS / "node" / "mined_blocks.json").read_text())
SRI_VECTORS = json.loads((VECTORS / "sri_share_validation.json").read_text())["vectors"]
EXTENDED = [vector for vector in SRI_VECTORS if "merkle_root" not in vector["job"]]
STANDARD = [vector for vector in SRI_VECTORS if "merkle_root" in vector["job"]]
# Mask that ASICs and V1 pools use, and the wider one of BIP 323.
BIP323 = 0x1FFFFFE0
NTIME = 1_700_000_000


def job_with(**changes: object) -> Job:
    """A job nobody mined: network target 0, so nothing is a block unless a test says so."""
    fields: dict[str, object] = {
        "prev_hash": bytes(range(32)),
        "version": 0x20000000,
        "nbits": 0x1D00FFFF,
        "ntime": NTIME,
        "coinbase_prefix": b"\x01" * 40,
        "coinbase_suffix": b"\x02" * 40,
        "merkle_path": (b"\x03" * 32, b"\x04" * 32),
        "target": DIFFICULTY_1_TARGET,
        "network_target": 0,
        "version_mask": VERSION_MASK_BIP320,
        "min_ntime": NTIME,
        "max_ntime": NTIME + 7200,
        "clean": True,
    }
    return msgspec.convert(fields | changes, Job)


def judge(
    job: Job,
    *,
    target: int = MAX_TARGET,
    mask: int = VERSION_MASK_BIP320,
    extranonce: bytes = b"abcd",
    size: int = 4,
    ntime: int = NTIME,
    nonce: int = 7,
    bits: int | None = None,
) -> Verdict:
    return check_share(job, target, mask, extranonce, size, ntime, nonce, bits).verdict


def job_of_header(header: bytes, coinbase: bytes, path: list[str], cut: int) -> tuple[Job, bytes]:
    """A block as the job it was mined from, with 4 bytes of its coinbase at `cut` as the extranonce."""
    version, prev_hash, _, ntime, nbits, _ = unpack_header(header)
    job = job_with(
        prev_hash=prev_hash,
        version=version,
        nbits=nbits,
        ntime=ntime,
        coinbase_prefix=coinbase[:cut],
        coinbase_suffix=coinbase[cut + 4 :],
        merkle_path=tuple(bytes.fromhex(branch) for branch in path),
        network_target=target_from_nbits(nbits),
        min_ntime=ntime,
        max_ntime=ntime + 7200,
    )
    return job, coinbase[cut : cut + 4]


def real_job(block: dict) -> tuple[Job, bytes]:
    return job_of_header(
        bytes.fromhex(block["header"]), bytes.fromhex(block["coinbase_without_bip141"]), block["merkle_path_wire"], 43
    )


# ---- real blocks


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["file"])
def test_a_real_block_is_judged_a_block_with_its_hash(block: dict) -> None:
    job, extranonce = real_job(block)
    judgement = check_share(job, 0, 0, extranonce, 4, block["ntime"], block["nonce"], None)
    assert judgement.verdict is Verdict.BLOCK
    assert display_hex(judgement.block_hash) == block["hash"]
    assert judgement.hash_value == int(block["hash"], 16)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["file"])
def test_one_flipped_bit_anywhere_unmakes_a_real_block(block: dict) -> None:
    job, extranonce = real_job(block)
    for bit in range(32):
        flip = 1 << bit
        flipped = (int.from_bytes(extranonce, "big") ^ flip).to_bytes(4, "big")
        assert judge(job, target=0, extranonce=extranonce, ntime=block["ntime"], nonce=block["nonce"] ^ flip) is not Verdict.BLOCK
        assert judge(job, target=0, extranonce=extranonce, ntime=block["ntime"] ^ flip, nonce=block["nonce"]) is not Verdict.BLOCK
        assert judge(job, target=0, extranonce=flipped, ntime=block["ntime"], nonce=block["nonce"]) is not Verdict.BLOCK
        other = msgspec.structs.replace(job, version=job.version ^ flip)
        assert judge(other, target=0, extranonce=extranonce, ntime=block["ntime"], nonce=block["nonce"]) is not Verdict.BLOCK


@pytest.mark.parametrize("name", ["empty_mempool_block", "full_block"])
def test_a_block_that_a_node_accepted_is_judged_a_block(name: str) -> None:
    mined = MINED[name]
    header = bytes.fromhex(mined["header"])
    version, _, _, ntime, _, nonce = unpack_header(header)
    coinbase = bytes.fromhex(mined["coinbase_stripped"])
    cut = len(bytes.fromhex(mined["prefix"]))
    job, extranonce = job_of_header(header, coinbase, mined.get("merkle_path", []), cut)
    judgement = check_share(job, 0, 0, extranonce, 4, ntime, nonce, None)
    assert judgement.verdict is Verdict.BLOCK
    assert judgement.block_hash == sha256d(header)
    # As a unit rolling its version sends it: the job's version without the rolled bits, the bits apart.
    rolled = msgspec.structs.replace(job, version=version & ~VERSION_MASK_BIP320)
    assert (
        judge(rolled, target=0, extranonce=extranonce, ntime=ntime, nonce=nonce, bits=version & VERSION_MASK_BIP320)
        is Verdict.BLOCK
    )


def test_the_regtest_block_of_the_reference_implementation_is_judged_a_block() -> None:
    job = job_with(
        prev_hash=bytes.fromhex(REGTEST["prev_hash"])[::-1],
        version=REGTEST["version"],
        nbits=REGTEST["nbits"],
        ntime=REGTEST["time"],
        coinbase_prefix=bytes.fromhex(REGTEST["coinbase_tx_prefix"]),
        coinbase_suffix=bytes.fromhex(REGTEST["coinbase_tx_suffix"]),
        merkle_path=tuple(bytes.fromhex(branch) for branch in REGTEST["path"]),
        network_target=target_from_nbits(REGTEST["nbits"]),
    )
    script = bytes.fromhex(REGTEST["coinbase_script"])
    judgement = check_share(job, 0, 0, script, len(script), REGTEST["time"], REGTEST["nonce"], None)
    assert (judgement.verdict, display_hex(judgement.block_hash)) == (Verdict.BLOCK, REGTEST["block_hash"])


# ---- the reference implementation's shares

EXPECTED = {
    "ShareValidationResult::BlockFound": Verdict.BLOCK,
    "ShareValidationError::DoesNotMeetTarget": Verdict.LOW_DIFFICULTY,
    "ShareValidationError::DuplicateShare": Verdict.VALID,  # it met the target; duplicates are the job owner's to know
    "ShareValidationError::VersionRollingNotAllowed": Verdict.BAD_VERSION,
}


def without_witness(prefix: bytes, suffix: bytes) -> tuple[bytes, bytes]:
    """BIP 141: a txid leaves out marker, flag and witness."""
    if prefix[4:6] == b"\x00\x01":
        # One witness item of 32 bytes stands between the outputs and the lock time.
        return prefix[:4] + prefix[6:], suffix[: -(1 + 1 + 32 + 4)] + suffix[-4:]
    return prefix, suffix


@pytest.mark.parametrize("vector", EXTENDED, ids=lambda vector: vector["test"])
def test_extended_shares_get_the_verdict_of_the_sv2_reference(vector: dict) -> None:
    channel, tip, share = vector["channel"], vector["set_new_prev_hash"], vector["share"]
    raw_prefix, raw_suffix = (bytes.fromhex(vector["job"][part]) for part in ("coinbase_tx_prefix", "coinbase_tx_suffix"))
    prefix, suffix = without_witness(raw_prefix, raw_suffix)
    allows_rolling = vector["expect"] != "ShareValidationError::VersionRollingNotAllowed"
    job = job_with(
        prev_hash=bytes.fromhex(tip["prev_hash"]),
        version=0x20000000,
        nbits=tip["nbits"],
        coinbase_prefix=prefix,
        coinbase_suffix=suffix,
        merkle_path=tuple(bytes.fromhex(branch) for branch in vector["job"]["merkle_path"]),
        network_target=target_from_nbits(tip["nbits"]),
        min_ntime=tip["min_ntime"],
        max_ntime=tip["min_ntime"] + 7200,
    )
    target = (
        DIFFICULTY_1_TARGET << 16 if channel["target_le"] is None else int.from_bytes(bytes.fromhex(channel["target_le"]), "little")
    )
    extranonce = bytes.fromhex(channel["extranonce_prefix"] + share["extranonce"])
    bits = share["version"] if not allows_rolling else None
    judgement = check_share(job, target, VERSION_MASK_BIP320, extranonce, len(extranonce), share["ntime"], share["nonce"], bits)
    assert judgement.verdict is EXPECTED[vector["expect"]]
    if allows_rolling:
        assert display_hex(judgement.block_hash) == vector["computed_hash"]


@pytest.mark.parametrize("vector", EXTENDED + STANDARD, ids=lambda vector: vector["test"])
def test_the_headers_of_the_reference_hash_to_what_it_says(vector: dict) -> None:
    header = bytes.fromhex(vector["header"])
    digest = sha256d(header)
    assert display_hex(digest) == vector["computed_hash"]
    _, _, root, _, nbits, _ = unpack_header(header)
    assert root.hex() == vector["job"].get("merkle_root", root.hex())
    if vector["expect"] in ("ShareValidationResult::BlockFound", "ShareValidationError::DoesNotMeetTarget"):
        is_block = int.from_bytes(digest, "little") <= target_from_nbits(nbits)
        assert is_block is (vector["expect"] == "ShareValidationResult::BlockFound")


# ---- the edges


def test_case_47_a_hash_equal_to_the_target_is_good_and_one_above_is_not() -> None:
    job = job_with()
    value = int.from_bytes(hash_share(job, b"abcd", NTIME, 7, job.version), "little")
    assert judge(job, target=value) is Verdict.VALID
    assert judge(job, target=value - 1) is Verdict.LOW_DIFFICULTY
    assert judge(msgspec.structs.replace(job, network_target=value), target=0) is Verdict.BLOCK
    assert judge(msgspec.structs.replace(job, network_target=value - 1), target=0) is Verdict.LOW_DIFFICULTY


@pytest.mark.parametrize(
    ("ntime", "verdict"),
    [
        (NTIME - 1, Verdict.BAD_NTIME),
        (NTIME, Verdict.VALID),
        (NTIME + 7000, Verdict.VALID),
        (NTIME + 7200, Verdict.VALID),
        (NTIME + 7201, Verdict.BAD_NTIME),
        (0, Verdict.BAD_NTIME),
        (0xFFFFFFFF, Verdict.BAD_NTIME),
    ],
)
def test_case_54_ntime_is_good_from_the_least_to_the_most_the_job_allows(ntime: int, verdict: Verdict) -> None:
    assert judge(job_with(), ntime=ntime) is verdict


def test_case_60_without_the_sixth_parameter_the_version_of_the_job_is_hashed() -> None:
    job = job_with()
    judgement = check_share(job, MAX_TARGET, VERSION_MASK_BIP320, b"abcd", 4, NTIME, 7, None)
    assert judgement.block_hash == hash_share(job, b"abcd", NTIME, 7, job.version)


@pytest.mark.parametrize("mask", [VERSION_MASK_BIP320, BIP323])
def test_case_56_bits_outside_the_mask_are_refused_and_inside_accepted(mask: int) -> None:
    job = job_with(version_mask=mask)
    lowest = mask & -mask
    assert judge(job, mask=mask, bits=lowest) is Verdict.VALID
    assert judge(job, mask=mask, bits=mask) is Verdict.VALID
    assert judge(job, mask=mask, bits=0) is Verdict.VALID
    assert judge(job, mask=mask, bits=lowest >> 1) is Verdict.BAD_VERSION
    assert judge(job, mask=mask, bits=0x20000000) is Verdict.BAD_VERSION
    assert judge(job, mask=mask, bits=mask | 0x80000000) is Verdict.BAD_VERSION


def test_case_56_bits_without_a_negotiated_mask_are_refused_but_zero_changes_nothing() -> None:
    job = job_with()
    assert judge(job, mask=0, bits=0x2000) is Verdict.BAD_VERSION
    judgement = check_share(job, MAX_TARGET, 0, b"abcd", 4, NTIME, 7, 0)
    assert judgement.block_hash == hash_share(job, b"abcd", NTIME, 7, job.version)


def test_case_56_bits_replace_what_the_job_has_inside_the_mask() -> None:
    # Bit 23 is set by the job. OR would keep it, XOR would clear or set it by the share's: BIP 320 says replace.
    job = job_with(version=0x20800000)
    for bits, version in [(0, 0x20000000), (0x00800000, 0x20800000), (0x00002000, 0x20002000)]:
        judgement = check_share(job, MAX_TARGET, VERSION_MASK_BIP320, b"abcd", 4, NTIME, 7, bits)
        assert judgement.block_hash == hash_share(job, b"abcd", NTIME, 7, version)


@pytest.mark.parametrize("extranonce", [b"", b"abc", b"abcde"])
def test_case_17_an_extranonce_of_another_length_is_refused_before_hashing(extranonce: bytes) -> None:
    judgement = check_share(job_with(network_target=MAX_TARGET), MAX_TARGET, 0, extranonce, 4, NTIME, 7, None)
    assert judgement.verdict is Verdict.BAD_EXTRANONCE
    assert (judgement.block_hash, judgement.hash_value) == (b"", 0)


def test_case_59_a_block_is_a_block_whatever_its_time_and_the_units_target() -> None:
    job = job_with(network_target=MAX_TARGET)
    assert judge(job, target=0, ntime=0) is Verdict.BLOCK
    assert judge(job, target=0, ntime=0xFFFFFFFF) is Verdict.BLOCK
    # But not with a version that the network would not have been asked to accept, nor another coinbase.
    assert judge(job, mask=0, bits=0x2000) is Verdict.BAD_VERSION


def test_a_time_out_of_range_is_named_before_the_target() -> None:
    assert judge(job_with(), target=0, ntime=0) is Verdict.BAD_NTIME


def test_a_nonce_outside_32_bits_is_the_callers_bug() -> None:
    with pytest.raises(struct.error):
        judge(job_with(), nonce=1 << 32)


@given(
    extranonce=st.binary(min_size=4, max_size=4),
    nonce=st.integers(0, 0xFFFFFFFF),
    ntime=st.integers(NTIME, NTIME + 7200),
    bits=st.integers(0, 0xFFFF).map(lambda value: value << 13),
    target=st.integers(0, MAX_TARGET),
)
def test_any_share_is_judged_by_its_hash_alone_when_its_form_is_right(
    extranonce: bytes, nonce: int, ntime: int, bits: int, target: int
) -> None:
    job = job_with()
    judgement = check_share(job, target, VERSION_MASK_BIP320, extranonce, 4, ntime, nonce, bits)
    version = 0x20000000 | bits
    assert judgement.block_hash == hash_share(job, extranonce, ntime, nonce, version)
    assert judgement.verdict is (Verdict.VALID if judgement.hash_value <= target else Verdict.LOW_DIFFICULTY)
