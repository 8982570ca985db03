"""The connection to a Stratum V2 pool: who the pool proves to be, what it agrees to, and how it ends."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.v2 import certificate
from protocol.v2.identity import ServerIdentity
from protocol.v2.keys import new_noise_key
from protocol.v2.messages import common, extensions, mining
from protocol.v2.noise import SECOND_MESSAGE_SIZE
from proxy.errors import PoolError
from proxy.upstream.session import MAX_BAD_IN_A_ROW, Redirect
from proxy.upstream.v2_extensions import MAX_SILENCES
from proxy.upstream.v2_link import PHASES, Again, Phase
from tests.support.jobs import NTIME
from tests.support.noise_pair import AUTHORITY, OTHER_AUTHORITY, counting_rng, identity
from tests.support.v2_pool import ScriptedPool, job, tip, url
from tests.support.wire import Wire


@pytest.fixture
def wire():
    made = Wire()
    yield made
    made.close()


# -- who the pool is


def test_a_pool_with_the_pinned_key_is_spoken_to(wire):
    pool = ScriptedPool(wire)
    pool.shakes_hands()
    assert [type(message) for message in pool.heard()] == [common.SetupConnection]
    assert not wire.names("pool.unauthenticated")


def test_another_key_is_refused_before_anything_was_said(wire):
    pool = ScriptedPool(wire, url=url(OTHER_AUTHORITY))
    with pytest.raises(RemoteProtocolError, match="not signed by the authority key"):
        pool.shakes_hands()
    assert pool.link.phase is Phase.DOWN
    assert pool.link.take_out() == b""


@pytest.mark.parametrize(("age_s", "says"), [(86_400 + 11, "expired"), (-3_611, "not valid for another")])
def test_a_certificate_of_another_time_is_refused_and_says_which_clock_to_look_at(wire, age_s, says):
    pool = ScriptedPool(wire)
    with pytest.raises(RemoteProtocolError, match=says):
        pool.shakes_hands(identity(NTIME - age_s))


@pytest.mark.parametrize("age_s", [86_400 + 9, -3_609])
def test_ten_seconds_between_the_clocks_are_forgiven(wire, age_s):
    pool = ScriptedPool(wire)
    pool.shakes_hands(identity(NTIME - age_s))
    assert pool.link.phase is Phase.SETUP


def version_1() -> ServerIdentity:
    static = new_noise_key(counting_rng("static"))
    signed = certificate.issue(AUTHORITY, static.public_x, NTIME, 3_600, counting_rng("sign"), version=1)
    return ServerIdentity(static, AUTHORITY, signed, counting_rng("sign"), NTIME)


def test_another_certificate_version_is_refused_unless_the_operator_takes_it(wire):
    with pytest.raises(RemoteProtocolError, match="version 1 is not allowed here"):
        ScriptedPool(wire).shakes_hands(version_1())
    pool = ScriptedPool(wire, certificate_versions=[0, 1])
    pool.shakes_hands(version_1())
    assert pool.link.phase is Phase.SETUP


def test_without_a_key_nobody_is_spoken_to_unless_the_operator_says_so_and_then_it_is_told(wire):
    with pytest.raises(LocalProtocolError):
        ScriptedPool(wire, url=url(None)).shakes_hands()
    pool = ScriptedPool(wire, url=url(None), allow_unauthenticated=True)
    pool.shakes_hands()
    assert pool.link.phase is Phase.SETUP
    (told,) = wire.names("pool.unauthenticated")
    assert "authority key" in str(told["remedy"])


def test_a_key_is_checked_even_where_none_would_be_needed(wire):
    pool = ScriptedPool(wire, url=url(OTHER_AUTHORITY), allow_unauthenticated=True)
    with pytest.raises(RemoteProtocolError, match="authority key"):
        pool.shakes_hands()


def test_a_pool_that_speaks_version_1_is_recognised(wire):
    pool = ScriptedPool(wire)
    pool.link.begin("192.0.2.9", 3336, 0.01)
    answer = b'{"id":null,"method":"mining.notify","params":[]}\n'
    with pytest.raises(RemoteProtocolError, match="Stratum V1"):
        pool.link.receive(answer.ljust(SECOND_MESSAGE_SIZE))


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def test_a_flipped_bit_anywhere_in_the_handshake_is_refused(wire):
    for bit in range(0, SECOND_MESSAGE_SIZE * 8, 97):
        pool = ScriptedPool(wire)
        with pytest.raises(RemoteProtocolError):
            pool.shakes_hands(spoil=lambda data, bit=bit: flipped(data, bit))
        assert not pool.link.is_up


@given(st.lists(st.integers(1, SECOND_MESSAGE_SIZE), max_size=12))
@settings(max_examples=25)
def test_the_handshake_may_come_in_any_pieces(sizes):
    wire = Wire()
    pool = ScriptedPool(wire)
    pool.shakes_hands(pieces=sizes)
    assert pool.link.phase is Phase.SETUP
    wire.close()


# -- what is agreed


def test_extension_0x0002_is_asked_for_and_told(wire):
    pool = ScriptedPool(wire)
    pool.welcomes(agreed=(2,))
    assert pool.link.is_up
    assert wire.names("pool.extensions") == [{"pool": "pool-v2", "agreed": "0x0002"}]


@pytest.mark.parametrize("wanted", [[], [1]])
def test_a_pool_of_which_nothing_is_wanted_is_asked_nothing(wire, wanted):
    pool = ScriptedPool(wire, request_extensions=wanted)
    pool.shakes_hands()
    pool.heard()
    pool.says(common.SetupConnectionSuccess(2, 0))
    assert pool.link.is_up
    assert pool.heard() == []


def refused(pool: ScriptedPool, *, required: tuple[int, ...] = ()) -> None:
    (request,) = pool.heard()
    assert isinstance(request, extensions.RequestExtensions)
    pool.says(extensions.RequestExtensionsError(request.request_id, request.requested_extensions, required))


def set_up(pool: ScriptedPool) -> None:
    pool.shakes_hands()
    pool.heard()
    pool.says(common.SetupConnectionSuccess(2, 0))


def test_a_pool_without_the_extension_is_used_without_it(wire):
    pool = ScriptedPool(wire)
    set_up(pool)
    refused(pool)
    assert pool.link.is_up
    assert pool.link.protocol.agreed == frozenset()


def test_x0001_what_a_pool_requires_is_asked_for_where_it_is_known(wire):
    pool = ScriptedPool(wire)
    set_up(pool)
    (request,) = pool.heard()
    pool.says(extensions.RequestExtensionsError(request.request_id, (), (2,)))
    (again,) = pool.heard()
    assert again.requested_extensions == (2,)
    pool.says(extensions.RequestExtensionsSuccess(again.request_id, (2,)))
    assert pool.link.is_up


def test_x0001_a_pool_that_requires_what_nobody_knows_says_so(wire):
    pool = ScriptedPool(wire)
    set_up(pool)
    with pytest.raises(PoolError, match="0x0063"):
        refused(pool, required=(0x63,))


def test_a_pool_that_refuses_what_it_requires_does_not_keep_us_asking(wire):
    pool = ScriptedPool(wire)
    set_up(pool)
    with pytest.raises(PoolError, match="requires"):
        refused(pool, required=(2,))


def test_x0001_a_silent_pool_is_asked_on_five_connections_and_then_used_without(wire):
    pool = ScriptedPool(wire)
    for _ in range(MAX_SILENCES):
        set_up(pool)
        assert pool.link.phase is Phase.EXTENSIONS
        wire.now_s += 0.5
        pool.link.expire()
        wire.now_s += 0.6
        with pytest.raises(Again):
            pool.link.expire()
        pool.link.down(PoolError("again"))
    set_up(pool)
    assert pool.link.is_up


@pytest.mark.parametrize("steps", [0, 1])
def test_a_handshake_that_hangs_ends_by_its_limit(wire, steps):
    pool = ScriptedPool(wire)
    if steps:
        pool.shakes_hands()
    else:
        pool.link.begin("192.0.2.9", 3336, 0.01)
    wire.now_s += 31.0
    with pytest.raises(PoolError, match="not answered in time"):
        pool.link.expire()


# -- how it ends


def test_phases_move_only_as_the_table_says(wire):
    assert set(PHASES) == set(Phase)
    pool = ScriptedPool(wire)
    with pytest.raises(LocalProtocolError):
        pool.link._enter(Phase.UP, 0.0)


def test_a_bad_mac_ends_the_connection_and_all_its_channels(wire):
    pool = ScriptedPool(wire)
    session = pool.mining()
    with pytest.raises(RemoteProtocolError):
        pool.says(job(2, 2), spoil=lambda data: data[:-1] + bytes([data[-1] ^ 1]))
    assert not pool.link.is_up
    assert not session.is_alive


def test_a_replayed_frame_ends_the_connection(wire):
    pool = ScriptedPool(wire)
    pool.mining()
    with pytest.raises(RemoteProtocolError):
        pool.says(tip(2, 2), spoil=lambda data: data + data)


def test_units_keep_their_job_and_shares_are_refused_while_the_link_is_down(wire):
    pool = ScriptedPool(wire)
    wire.session = pool.mining()
    unit = wire.connect()
    unit.shakes_hands("unit-1")
    unit.heard()
    pool.link.down(PoolError("connection lost"))
    assert unit.heard() == b""
    assert unit.connection.close_reason is None


def test_a_pool_with_a_key_may_send_us_anywhere_for_it_must_prove_the_key_there(wire):
    pool = ScriptedPool(wire)
    pool.mining()
    with pytest.raises(Redirect) as caught:
        pool.says(common.Reconnect(b"elsewhere.example", 4_444))
    assert (caught.value.host, caught.value.port) == ("elsewhere.example", 4_444)
    assert not pool.link.is_up


def test_a_redirect_to_nowhere_in_particular_is_to_the_same_place(wire):
    pool = ScriptedPool(wire)
    pool.mining()
    with pytest.raises(Redirect) as caught:
        pool.says(common.Reconnect(b"", 0))
    assert (caught.value.host, caught.value.port) == ("192.0.2.9", 3336)


def test_a_pool_without_a_key_may_send_us_only_where_the_operator_allows_it(wire):
    pool = ScriptedPool(wire, url=url(None), allow_unauthenticated=True, reconnect_allow=["b.example:9"])
    session = pool.mining()
    pool.says(common.Reconnect(b"evil.example", 9))
    assert session.is_alive
    assert [told["host"] for told in wire.names("pool.redirect_refused")] == ["evil.example"]
    with pytest.raises(Redirect):
        pool.says(common.Reconnect(b"b.example", 9))


def test_messages_for_channels_that_are_not_ours_are_counted_and_many_end_the_connection(wire):
    pool = ScriptedPool(wire)
    session = pool.mining()
    for number in range(MAX_BAD_IN_A_ROW - 1):
        pool.says(mining.SetTarget(1_000 + number, 1))
    assert session.is_alive
    pool.says(mining.SetTarget(7, 1 << 250))
    for number in range(MAX_BAD_IN_A_ROW - 1):
        pool.says(mining.SetTarget(1_000 + number, 1))
    assert session.is_alive
    with pytest.raises(PoolError, match="unusable messages"):
        pool.says(mining.SetTarget(1_000, 1))


@given(st.binary(min_size=1, max_size=300))
@settings(max_examples=60)
def test_no_bytes_do_more_than_end_the_connection(data):
    wire = Wire()
    pool = ScriptedPool(wire)
    session = pool.mining()
    try:
        pool.link.receive(data + hashlib.sha256(data).digest() * 3)
    except RemoteProtocolError:
        assert not session.is_alive
    wire.close()
