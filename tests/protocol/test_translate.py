"""Stratum V2 jobs as Stratum V1 units see them, on real blocks, and the mistakes that are easiest to make on the way."""

import json
import struct
from fractions import Fraction
from pathlib import Path

import pytest

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.header import pack_header
from protocol.bitcoin.target import DIFFICULTY_1_TARGET, difficulty_from_target, floor_power_of_two, target_from_difficulty
from protocol.mining.job import Job
from protocol.mining.share import Verdict, check_share, header_version
from protocol.translate import error_number, is_sum_right, job_from_v2, v2_mask
from protocol.v1.messages import encode_notify
from protocol.v2 import error_codes
from protocol.v2.client_channel import ClientChannel
from protocol.v2.client_events import JobReceived
from protocol.v2.messages.mining import NewExtendedMiningJob, SetNewPrevHash

VECTORS = Path(__file__).parents[1] / "vectors"
SRI = json.loads((VECTORS / "sri_translation_notify.json").read_text())["vectors"]
BLOCKS = json.loads((VECTORS / "bitcoin_blocks.json").read_text())["vectors"]
BIP320 = 0x1FFFE000
BIP323 = 0x1FFFFFE0


def received(**fields: object) -> JobReceived:
    values: dict[str, object] = {
        "channel_id": 1,
        "job_id": 5,
        "version": 0x20000000,
        "is_version_rolling_allowed": True,
        "prev_hash": bytes(range(32)),
        "nbits": 0x1D00FFFF,
        "min_ntime": 1_700_000_000,
        "target": 1 << 240,
        "extranonce_prefix": b"\xaa\xbb",
        "merkle_root": None,
        "coinbase_prefix": b"prefix",
        "coinbase_suffix": b"suffix",
        "merkle_path": (),
        "clean": True,
    }
    return JobReceived(**{**values, **fields})  # type: ignore[arg-type]  # the test names the fields


def translated(mask: int = BIP320, **fields: object) -> Job:
    return job_from_v2(received(**fields), coinbase_prefix=b"prefix\xaa\xbb", version_mask=mask, max_ntime_ahead_s=7_000)


def notify(job: Job, job_id: str = "1", clean: bool = True) -> list:
    return json.loads(encode_notify(job_id, job, clean))["params"]


def channel(prefix: bytes = b"") -> ClientChannel:
    return ClientChannel(1, is_extended=True, target=1 << 240, prefix=prefix, extranonce_size=8, group_id=2, first_sequence=1)


def v1_header(params: list, extranonce1: bytes, extranonce2: bytes, ntime: int, nonce: int, bits: int | None = None) -> bytes:
    """The header as a stock Stratum V1 miner makes it, from the strings alone."""
    _, prev, coinbase1, coinbase2, branches, version, nbits, _, _ = params
    root = sha256d(bytes.fromhex(coinbase1) + extranonce1 + extranonce2 + bytes.fromhex(coinbase2))
    for branch in branches:
        root = sha256d(root + bytes.fromhex(branch))
    words = bytes.fromhex(prev)
    prev_hash = b"".join(words[i : i + 4][::-1] for i in range(0, 32, 4))
    rolled = int(version, 16) if bits is None else int(version, 16) & ~BIP320 | bits
    return struct.pack("<I", rolled) + prev_hash + root + struct.pack("<III", ntime, int(nbits, 16), nonce)


# -- vectors of the reference implementation


def vector_messages() -> tuple[NewExtendedMiningJob, SetNewPrevHash]:
    given, tip = SRI[0]["job"], SRI[0]["set_new_prev_hash"]
    job = NewExtendedMiningJob(
        given["channel_id"],
        given["job_id"],
        given["min_ntime"],
        given["version"],
        given["version_rolling_allowed"],
        tuple(bytes.fromhex(branch) for branch in given["merkle_path"]),
        bytes.fromhex(given["coinbase_tx_prefix"]),
        bytes.fromhex(given["coinbase_tx_suffix"]),
    )
    return job, SetNewPrevHash(tip["channel_id"], tip["job_id"], bytes.fromhex(tip["prev_hash"]), tip["min_ntime"], tip["nbits"])


def test_the_notify_of_a_future_job_and_its_tip_is_the_reference_implementations() -> None:
    job, tip = vector_messages()
    end = channel()
    assert end.on_job(job, is_version_rolling_allowed=True) is None
    work = end.on_tip(tip)
    assert isinstance(work, JobReceived)
    neutral = job_from_v2(work, coinbase_prefix=work.coinbase_prefix, version_mask=BIP320, max_ntime_ahead_s=7_000)
    params = notify(neutral, str(work.job_id), work.clean)
    expected = SRI[0]["expect"]
    assert params[0] == expected["job_id"]
    assert [int(params[i], 16) for i in (5, 6, 7)] == [expected[key] for key in ("version", "bits", "time")]
    assert params[8] is True


def test_the_notify_of_a_job_for_now_has_its_own_time_and_is_not_clean() -> None:
    job, tip = vector_messages()
    end = channel()
    end.on_job(job, is_version_rolling_allowed=True)
    end.on_tip(tip)
    later = NewExtendedMiningJob(
        1, 457, SRI[1]["job_min_ntime"], job.version, True, job.merkle_path, job.coinbase_tx_prefix, job.coinbase_tx_suffix
    )
    work = end.on_job(later, is_version_rolling_allowed=True)
    assert work is not None
    neutral = job_from_v2(work, coinbase_prefix=work.coinbase_prefix, version_mask=BIP320, max_ntime_ahead_s=7_000)
    params = notify(neutral, "457", work.clean)
    assert (int(params[7], 16), params[8]) == (SRI[1]["expect_time"], SRI[1]["expect_clean_jobs"])


@pytest.mark.parametrize(("difficulty", "rounded"), SRI[2]["power_of_two_rounding"])
def test_mistake_14_difficulties_for_units_are_rounded_down(difficulty: float, rounded: int) -> None:
    assert floor_power_of_two(difficulty) == rounded


# -- the identity, on blocks that the network accepted


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["file"])
@pytest.mark.parametrize("cut", [0, 4, 12])
def test_a_v1_unit_makes_the_exact_header_of_a_v2_pools_job(block: dict, cut: int) -> None:
    coinbase = bytes.fromhex(block["coinbase_without_bip141"])
    extranonce_at = 46
    prefix, extranonce, suffix = (
        coinbase[:extranonce_at],
        coinbase[extranonce_at : extranonce_at + 12],
        coinbase[extranonce_at + 12 :],
    )
    end = channel(extranonce[:cut])
    path = tuple(bytes.fromhex(branch) for branch in block["merkle_path_wire"])
    end.on_job(NewExtendedMiningJob(1, 9, None, block["version"], True, path, prefix, suffix), is_version_rolling_allowed=True)
    work = end.on_tip(SetNewPrevHash(1, 9, bytes.fromhex(block["prev_hash_wire"]), block["ntime"], block["nbits"]))
    assert isinstance(work, JobReceived)
    inside = work.coinbase_prefix + work.extranonce_prefix
    job = job_from_v2(work, coinbase_prefix=inside, version_mask=BIP320, max_ntime_ahead_s=7_000)
    own = extranonce[cut:]
    header = v1_header(notify(job), own[:2], own[2:], block["ntime"], block["nonce"])
    assert header.hex() == block["header"]
    judged = check_share(job, job.target, 0, own, len(own), block["ntime"], block["nonce"], None)
    assert judged.block_hash == sha256d(header)


# -- the easiest mistakes


def test_mistake_8_the_previous_hash_is_swapped_by_words_not_reversed() -> None:
    assert notify(translated())[1] == "03020100070605040b0a09080f0e0d0c13121110171615141b1a19181f1e1d1c"


def test_mistake_9_branches_are_not_reversed() -> None:
    branch = bytes(range(1, 33))
    assert notify(translated(merkle_path=(branch,)))[4] == [branch.hex()]


def test_mistake_10_an_unstripped_coinbase_is_hashed_without_its_witness() -> None:
    strip = json.loads((VECTORS / "sri_bip141_strip.json").read_text())["vectors"]
    whole = next(vector for vector in strip if vector["name"].endswith("not_yet_stripped"))
    end = channel()
    end.on_job(
        NewExtendedMiningJob(
            1, 1, None, 2, True, (), bytes.fromhex(whole["coinbase_tx_prefix"]), bytes.fromhex(whole["coinbase_tx_suffix"])
        ),
        is_version_rolling_allowed=True,
    )
    work = end.on_tip(SetNewPrevHash(1, 1, bytes(32), 1, 0x1D00FFFF))
    assert isinstance(work, JobReceived)
    assert work.coinbase_prefix[4:6] == b"\x01\x00"
    assert len(work.coinbase_prefix) == len(bytes.fromhex(whole["coinbase_tx_prefix"])) - 2
    assert len(work.coinbase_suffix) == len(bytes.fromhex(whole["coinbase_tx_suffix"])) - 34


def test_mistake_15_only_a_new_tip_is_clean() -> None:
    end = channel()
    job = NewExtendedMiningJob(1, 1, None, 2, True, (), b"\x01\x00\x00\x00\x01", b"")
    end.on_job(job, is_version_rolling_allowed=True)
    first = end.on_tip(SetNewPrevHash(1, 1, bytes(32), 1, 0x1D00FFFF))
    now = end.on_job(NewExtendedMiningJob(1, 2, 1, 2, True, (), b"\x01\x00\x00\x00\x01", b""), is_version_rolling_allowed=True)
    assert isinstance(first, JobReceived)
    assert now is not None
    assert (translated(clean=first.clean).clean, translated(clean=now.clean).clean) == (True, False)


@pytest.mark.parametrize(
    ("ours", "allowed", "expected"), [(BIP320, True, BIP320), (0xFFFFFFFF, True, BIP323), (BIP320, False, 0), (0, True, 0)]
)
def test_mistake_18_the_mask_is_ours_inside_bip_323_and_nothing_where_the_job_forbids_it(
    ours: int, allowed: bool, expected: int
) -> None:
    assert translated(ours, is_version_rolling_allowed=allowed).version_mask == expected


@pytest.mark.parametrize(
    ("granted", "on_v2"), [(BIP320, BIP323), (0xFFFFFFFF, BIP323), (0x00FFE000, 0x00FFE000), (0x0000001F, 0), (0, 0)]
)
def test_all_of_bip_320_grants_bip_323_and_less_grants_just_that(granted: int, on_v2: int) -> None:
    assert v2_mask(granted) == on_v2


def test_mistake_18_a_shares_version_is_that_of_its_own_job() -> None:
    old, new = translated(version=0x2000E000), translated(version=0x20000000)
    bits = 0x00002000
    assert header_version(old, BIP320, bits) == 0x20002000
    assert header_version(old, BIP320, None) == 0x2000E000
    assert header_version(new, BIP320, None) == 0x20000000


def test_mistake_23_what_equals_the_target_stays_here_and_what_is_below_goes_up() -> None:
    job = translated(target=1 << 240)
    assert job.target == (1 << 240) - 1
    header = pack_header(job.version, job.prev_hash, sha256d(job.coinbase_prefix + job.coinbase_suffix), job.ntime, job.nbits, 1)
    hash_value = int.from_bytes(sha256d(header), "little")
    assert check_share(job, hash_value, 0, b"", 0, job.ntime, 1, None).verdict is Verdict.VALID
    assert not hash_value <= translated(target=hash_value).target
    assert hash_value <= translated(target=hash_value + 1).target


def test_mistake_24_targets_go_through_integers() -> None:
    for difficulty in (0.1, 3.7, 1e6 + 1 / 3, 12_345_678.9):
        assert target_from_difficulty(difficulty) == DIFFICULTY_1_TARGET // Fraction(difficulty)
    assert difficulty_from_target(DIFFICULTY_1_TARGET) == 1.0


def test_the_time_of_a_share_may_run_ahead_but_never_past_what_the_header_holds() -> None:
    assert translated().max_ntime == 1_700_007_000
    assert translated(min_ntime=0xFFFFFFFF).max_ntime == 0xFFFFFFFF


def test_impossible_nbits_are_refused() -> None:
    with pytest.raises(ValueError, match="nbits"):
        translated(nbits=0)


# -- shares that come back


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (error_codes.STALE_SHARE, 21),
        (error_codes.INVALID_JOB_ID, 21),
        (error_codes.DUPLICATE_SHARE, 22),
        (error_codes.DIFFICULTY_TOO_LOW, 23),
        (error_codes.INVALID_NON_ROLLABLE_VERSION_BIT, 23),
        (error_codes.UNKNOWN_USER, 24),
        (error_codes.INVALID_SHARE, 20),
        (b"something-new", 20),
        (b"", 20),
    ],
)
def test_mistake_22_a_code_is_counted_under_its_number_and_unknown_ones_are_other(code: bytes, number: int) -> None:
    assert error_number(code) == number


def test_mistake_19_a_sum_is_right_however_fractions_were_dropped_and_wrong_when_it_is_cumulative() -> None:
    difficulties = [1.9] * 10
    assert is_sum_right(int(sum(difficulties)), sum(difficulties), 10)
    assert is_sum_right(sum(int(each) for each in difficulties), sum(difficulties), 10)
    assert is_sum_right(0, 10 * 2.0**-28, 10)
    assert not is_sum_right(2 * 1_000_000, 1_000_000.0, 10)
    assert not is_sum_right(900_000, 1_000_000.0, 10)
