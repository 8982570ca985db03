"""The conformance catalogue seen from the other side: what we send to a Stratum V2 pool, and what we make of one that breaks it.

Ids are those of the server scenarios that each rule mirrors.
"""

from collections.abc import Iterator

import pytest

from protocol.errors import RemoteProtocolError
from protocol.v2.layouts import LAYOUT_BY_CLASS, Direction
from protocol.v2.messages import common, extensions, mining
from protocol.v2.tlv import decode_tlvs
from proxy.errors import PoolError
from proxy.upstream.v2_link import Phase
from proxy.work.load import Load
from tests.support.jobs import EASY
from tests.support.mine import solve
from tests.support.v2_pool import ScriptedPool, is_work, job, tip
from tests.support.wire import Unit, Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


class Mining:
    """A unit of version 1 at work for a scripted pool."""

    def __init__(self, wire: Wire) -> None:
        self.pool = ScriptedPool(wire)
        wire.session = self.session = self.pool.mining()
        self.unit: Unit = wire.connect()
        self.unit.shakes_hands("unit-1")
        hello, *lines = self.unit.lines()
        self.hello = hello
        self.told = [line for line in lines if line.get("method") == "mining.notify"]

    def submits(self, count: int = 1) -> list[mining.SubmitSharesExtended]:
        """Shares of the newest job, as the pool hears them."""
        self.told += [line for line in self.unit.lines() if line.get("method") == "mining.notify"]
        first, heard = 0, []
        for _ in range(count):
            params = solve(self.hello, self.told[-1], EASY, first=first)
            first = int(params[3], 16) + 1
            self.unit.says("mining.submit", "unit-1", *params)
            heard += self.pool.heard()
        assert all(isinstance(share, mining.SubmitSharesExtended) for share in heard)
        return heard  # type: ignore[return-value]


def test_gen_1_gen_2_every_frame_we_send_has_the_bit_and_the_extension_of_its_type(wire: Wire) -> None:
    pool = ScriptedPool(wire)
    frames = []
    heard = pool._heard

    def kept() -> list[object]:
        found = heard()
        frames.extend(found)
        return found

    pool._heard = kept  # type: ignore[assignment]
    session = pool.mining()
    session.tick(Load(1e15, 64.0))
    assert [type(message) for message in pool.heard()] == [mining.UpdateChannel]
    pool.link.leave(session)
    assert [type(message) for message in pool.heard()] == [mining.CloseChannel]
    kinds = []
    for frame, message in frames:  # type: ignore[misc]
        layout = LAYOUT_BY_CLASS[type(message)]
        kinds.append(layout.name)
        assert layout.direction in (Direction.TO_SERVER, Direction.BOTH)
        assert (frame.extension_type, frame.is_channel) == (layout.extension_type, layout.is_channel), layout.name
    assert kinds == ["SetupConnection", "RequestExtensions", "OpenExtendedMiningChannel", "UpdateChannel", "CloseChannel"]


def test_gen_10_gen_11_the_name_of_the_unit_is_behind_the_fields_and_at_most_32_bytes(wire: Wire) -> None:
    there = Mining(wire)
    (share,) = there.submits()
    ((extension, field, value),) = [(tlv.extension_type, tlv.field_type, tlv.value) for tlv in decode_tlvs(share.rest)]
    assert (extension, field, value) == (2, 1, b"unit-1")


@pytest.mark.parametrize("agreed", [(), (2,)])
def test_gen_13_a_share_names_its_unit_only_where_that_was_agreed_on(wire: Wire, agreed: tuple[int, ...]) -> None:
    pool = ScriptedPool(wire)
    pool.welcomes(agreed=agreed)
    wire.session = session = pool.session()
    pool.opens(session)
    pool.says(job(1), tip(1))
    unit = wire.connect()
    unit.shakes_hands("unit-1")
    hello, *lines = unit.lines()
    params = solve(hello, next(line for line in lines if line.get("method") == "mining.notify"), EASY)
    unit.says("mining.submit", "unit-1", *params)
    (share,) = pool.heard()
    assert bool(share.rest) is bool(agreed)


def test_c_sc_1_nothing_but_setup_is_said_before_its_answer_and_nothing_before_that_of_extensions(wire: Wire) -> None:
    pool = ScriptedPool(wire)
    pool.shakes_hands()
    assert [type(message) for message in pool.heard()] == [common.SetupConnection]
    assert not pool.heard()
    pool.says(common.SetupConnectionSuccess(2, 0))
    assert [type(message) for message in pool.heard()] == [extensions.RequestExtensions]
    assert pool.link.phase is Phase.EXTENSIONS


@pytest.mark.parametrize("version", [0, 1, 3])
def test_c_scs_2_a_version_that_was_not_offered_ends_the_connection(wire: Wire, version: int) -> None:
    pool = ScriptedPool(wire)
    pool.shakes_hands()
    with pytest.raises(RemoteProtocolError, match="was not offered"):
        pool.says(common.SetupConnectionSuccess(version, 0))
    assert pool.link.phase is Phase.DOWN


def test_c_sce_1_a_refusal_is_a_reason_that_an_operator_reads(wire: Wire) -> None:
    pool = ScriptedPool(wire)
    pool.shakes_hands()
    with pytest.raises(PoolError, match="unsupported-protocol"):
        pool.says(common.SetupConnectionError(0, b"unsupported-protocol"))


def test_m_sse_1_m_sse_3_m_sserr_2_shares_are_work_of_the_exact_size_under_numbers_that_rise(wire: Wire) -> None:
    there = Mining(wire)
    shares = there.submits(5)
    assert all(is_work(share) for share in shares)
    assert {len(share.extranonce) for share in shares} == {8}
    assert [share.sequence_number for share in shares] == [1, 2, 3, 4, 5]


def test_m_snph_1_work_stops_at_a_tip_that_names_no_job_we_know(wire: Wire) -> None:
    there = Mining(wire)
    there.pool.says(tip(99, 2))
    assert there.submits() == []
    there.pool.says(job(99, 2))
    (share,) = there.submits()
    assert share.job_id == 99


def test_m_st_1_an_update_says_the_easiest_target_that_we_take_and_the_hashrate_behind_it(wire: Wire) -> None:
    there = Mining(wire)
    there.session.tick(Load(5e15, 4_096.0))
    (update,) = there.pool.heard()
    assert isinstance(update, mining.UpdateChannel)
    assert update.nominal_hash_rate == pytest.approx(5e15)


# -- hostile bytes of a pool


def flip(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 1 << offset % 8]) + data[offset + 1 :]


def test_a_bit_flipped_at_any_offset_of_a_sealed_job_and_tip_ends_the_connection(wire: Wire) -> None:
    pool = ScriptedPool(wire)
    pool.mining()
    length = []
    pool.says(job(2, 2), tip(2, 2), spoil=lambda data: length.append(len(data)) or data)  # type: ignore[func-returns-value]
    for offset in range(length[0]):
        spoiled = ScriptedPool(wire)
        session = spoiled.mining()
        before = session.current
        with pytest.raises(RemoteProtocolError, match="MAC"):
            spoiled.says(job(2, 2), tip(2, 2), spoil=lambda data, offset=offset: flip(data, offset))
        assert spoiled.link.phase is Phase.DOWN
        assert session.current is before


def test_a_job_cut_at_any_offset_is_waited_for_and_holds_no_more_than_came(wire: Wire) -> None:
    pool = ScriptedPool(wire)
    session = pool.mining()
    before = session.current

    def drip(data: bytes) -> bytes:
        for offset in range(len(data) - 1):
            pool.link.receive(data[offset : offset + 1])
            assert session.current is before
        return data[-1:]

    pool.says(job(2, 2, min_ntime=None), tip(2, 2), spoil=drip)
    assert session.current is not before


def test_a_length_of_16_mb_ends_the_connection_before_the_payload(wire: Wire) -> None:
    pool = ScriptedPool(wire)
    pool.mining()
    transport = pool._transport
    assert transport is not None
    header = b"\x00\x80\x1f\xff\xff\xff"
    with pytest.raises(RemoteProtocolError, match="announces 16777215 bytes"):
        pool.link.receive(transport._sealing.seal([header]))
    assert pool.link.phase is Phase.DOWN
