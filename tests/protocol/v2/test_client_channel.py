"""Jobs, chain tips, targets and prefixes of a channel: what is work, and what was in force when it became work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bitcoin.hashes import sha256d
from protocol.bitcoin.merkle import root_from_path
from protocol.v2 import client_events as events
from protocol.v2.client_channel import MAX_FUTURE_JOBS, MAX_MERKLE_BRANCHES
from protocol.v2.messages import mining
from protocol.v2.transport import Frame
from tests.support.v2 import frame_of
from tests.support.v2_client import HASH, NBITS, PREFIX, TARGET, connected, job, opened, standard, tip, with_channel, work


def test_a_future_job_is_work_when_its_tip_comes() -> None:
    client = with_channel()
    assert client.receive(job(1)) == []
    received = work(client.receive(tip(1, min_ntime=1_234)))
    assert (received.job_id, received.prev_hash, received.nbits, received.min_ntime) == (1, HASH, NBITS, 1_234)
    assert (received.target, received.extranonce_prefix, received.clean) == (TARGET, PREFIX, True)
    assert received.merkle_root is None


def test_a_tip_that_overtook_its_job_waits_for_it_and_says_so() -> None:
    client = with_channel()
    assert client.receive(tip(1)) == [events.TipWithoutJob(7, 1)]
    assert work(client.receive(job(1))).clean


def test_a_job_for_now_with_another_id_ends_the_wait_for_the_tips_job() -> None:
    client = with_channel()
    client.receive(tip(1))
    assert work(client.receive(job(2, min_ntime=1_001))).clean
    assert not work(client.receive(job(3, min_ntime=1_002))).clean


def test_a_job_for_now_is_on_the_last_tip_and_leaves_earlier_ones_valid() -> None:
    client = with_channel()
    client.receive(job(1))
    client.receive(tip(1, prev_hash=bytes(32)))
    received = work(client.receive(job(2, min_ntime=2_000)))
    assert (received.prev_hash, received.min_ntime, received.clean) == (bytes(32), 2_000, False)


def test_a_first_job_for_now_without_a_tip_waits_for_it() -> None:
    client = with_channel()
    assert client.receive(job(1, min_ntime=900)) == []
    assert work(client.receive(tip(1, min_ntime=1_000))).min_ntime == 1_000


def test_a_tip_drops_all_other_future_jobs() -> None:
    client = with_channel()
    for job_id in (1, 2, 3):
        client.receive(job(job_id))
    work(client.receive(tip(2)))
    assert client.receive(tip(3)) == [events.TipWithoutJob(7, 3)]


def test_of_a_flood_of_future_jobs_the_newest_stay() -> None:
    client = with_channel()
    for job_id in range(MAX_FUTURE_JOBS + 1):
        client.receive(job(job_id))
    assert client.receive(tip(0)) == [events.TipWithoutJob(7, 0)]
    client = with_channel()
    for job_id in range(1_000):
        client.receive(job(job_id))
    assert work(client.receive(tip(1_000 - MAX_FUTURE_JOBS))).job_id == 1_000 - MAX_FUTURE_JOBS


def test_m_st_2_a_target_is_for_stored_and_later_jobs_never_for_the_active_one() -> None:
    client = with_channel()
    client.receive(job(1))
    first = work(client.receive(tip(1)))
    client.receive(job(2))
    assert client.receive(frame_of(mining.SetTarget(7, TARGET // 2))) == [events.TargetSet(7, TARGET // 2)]
    assert first.target == TARGET
    assert work(client.receive(job(3, min_ntime=1_001))).target == TARGET // 2
    assert work(client.receive(tip(2))).target == TARGET // 2


def test_m_sep_1_a_prefix_is_for_jobs_that_are_sent_after_it() -> None:
    client = with_channel()
    client.receive(job(1))
    assert client.receive(frame_of(mining.SetExtranoncePrefix(7, b"\x01\x02"))) == [events.PrefixSet(7, b"\x01\x02")]
    client.receive(job(2))
    assert work(client.receive(tip(1))).extranonce_prefix == PREFIX
    assert work(client.receive(job(3, min_ntime=1_001))).extranonce_prefix == b"\x01\x02"


def test_a_prefix_for_a_group_or_too_long_for_the_channel_changes_nothing() -> None:
    client = with_channel()
    for message in (mining.SetExtranoncePrefix(1, b"\x01"), mining.SetExtranoncePrefix(7, bytes(25))):
        (event,) = client.receive(frame_of(message))
        assert isinstance(event, events.Refused)
    client.receive(job(1))
    assert work(client.receive(tip(1))).extranonce_prefix == PREFIX


def test_jobs_tips_and_targets_of_a_group_are_each_members() -> None:
    client = connected()
    for channel_id in (7, 8):
        opened(client, channel_id, group_id=100, prefix=bytes([channel_id]))
    opened(client, 9, group_id=101)
    client.receive(frame_of(mining.SetGroupChannel(100, (9,))))
    client.receive(job(1, channel_id=100))
    assert {event.channel_id for event in client.receive(frame_of(mining.SetTarget(100, 5)))} == {7, 8, 9}  # type: ignore[union-attr]
    found = client.receive(tip(1, channel_id=100))
    assert [(event.channel_id, event.extranonce_prefix, event.target) for event in found] == [  # type: ignore[union-attr]
        (7, b"\x07", 5),
        (8, b"\x08", 5),
        (9, PREFIX, 5),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        job(2, min_ntime=1_001, merkle_path=(HASH,) * (MAX_MERKLE_BRANCHES + 1)),
        job(2, min_ntime=1_001, coinbase_tx_prefix=bytes(8_001)),
        job(2, min_ntime=1_001, coinbase_tx_prefix=b"\x01\x00\x00\x00\x00\x02" + bytes(40)),
        tip(2, nbits=0),
        tip(2, nbits=0x1D80FFFF),
        frame_of(mining.SetTarget(7, 0)),
        frame_of(mining.NewMiningJob(7, 2, None, 1, HASH)),
    ],
    ids=["branches", "coinbase", "no transaction", "nbits 0", "nbits negative", "target 0", "standard job"],
)
def test_what_cannot_be_used_is_refused_and_the_last_good_value_stays(bad: Frame) -> None:
    client = with_channel()
    client.receive(job(1))
    client.receive(tip(1, prev_hash=bytes(32)))
    (event,) = client.receive(bad)
    assert isinstance(event, events.Refused)
    assert event.channel_id == 7
    received = work(client.receive(job(3, min_ntime=1_001)))
    assert (received.prev_hash, received.target) == (bytes(32), TARGET)


def test_version_rolling_is_allowed_by_the_server_and_by_the_job() -> None:
    for flags, allowed, expected in ((0, True, True), (0, False, False), (1, True, False)):
        client = connected(flags)
        opened(client)
        client.receive(job(1, version_rolling_allowed=allowed))
        assert work(client.receive(tip(1))).is_version_rolling_allowed is expected


def test_an_unstripped_coinbase_is_stripped() -> None:
    client = with_channel()
    prefix = b"\x02\x00\x00\x00\x00\x01\x01" + bytes(36)
    suffix = b"\xff\xff\xff\xff\x00" + b"\x01\x20" + bytes(32) + b"lock"
    client.receive(job(1, coinbase_tx_prefix=prefix, coinbase_tx_suffix=suffix))
    received = work(client.receive(tip(1)))
    assert received.coinbase_prefix == b"\x02\x00\x00\x00\x01" + bytes(36)
    assert received.coinbase_suffix == b"\xff\xff\xff\xff\x00lock"


def test_a_standard_channel_gets_roots_from_its_own_jobs_and_from_its_groups() -> None:
    client = connected()
    standard(client)
    client.receive(frame_of(mining.NewMiningJob(7, 1, None, 0x20000000, HASH)))
    assert work(client.receive(tip(1))).merkle_root == HASH
    received = work(client.receive(job(2, channel_id=100, min_ntime=1_001)))
    assert received.merkle_root == root_from_path(
        sha256d(received.coinbase_prefix + PREFIX + received.coinbase_suffix), received.merkle_path
    )


@given(st.lists(st.sampled_from(["future", "now", "tip", "old tip", "target", "prefix"]), max_size=40))
def test_whatever_the_order_a_job_has_what_was_in_force_when_it_became_work(steps: list[str]) -> None:
    client = with_channel()
    job_id, target, prefix = 0, TARGET, PREFIX
    prefixes: dict[int, bytes] = {}
    for step in steps:
        found: list[events.ClientEvent] = []
        if step in ("future", "now"):
            job_id += 1
            prefixes[job_id] = prefix
            found = client.receive(job(job_id, min_ntime=1_000 if step == "now" else None))
        elif step == "tip":
            found = client.receive(tip(job_id))
        elif step == "old tip":
            found = client.receive(tip(max(0, job_id - 1)))
        elif step == "target":
            target -= 1
            client.receive(frame_of(mining.SetTarget(7, target)))
        else:
            prefix = bytes([prefix[0] ^ 1]) + prefix[1:]
            client.receive(frame_of(mining.SetExtranoncePrefix(7, prefix)))
        for event in found:
            if isinstance(event, events.JobReceived):
                assert (event.target, event.extranonce_prefix) == (target, prefixes[event.job_id])
