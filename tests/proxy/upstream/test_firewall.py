"""Whatever a pool sends, what a unit receives is what the plainest firmware can read, and the proxy stays up.

The whole way from a pool's bytes to a unit's bytes, without sockets: thousands of hostile sessions in seconds.
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import RemoteProtocolError
from protocol.mining.job import Job
from protocol.v1.messages import encode_notify, encode_set_difficulty
from proxy.errors import PoolError
from proxy.sim.pool_faults import BAD_JOBS, broken_notify
from proxy.upstream.v1 import V1Session
from tests.support.jobs import EASY, NTIME, make_job
from tests.support.mine import solve
from tests.support.schema import Reader
from tests.support.wire import Unit, Wire

# Answers to configure, subscribe, extranonce.subscribe and authorize, whose ids are 1, 2, 3 and 4.
WELCOME = (
    b'{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}\n'
    b'{"id":2,"result":[[["mining.notify","s1"]],"aabbccdd",8],"error":null}\n'
    b'{"id":3,"result":true,"error":null}\n'
    b'{"id":4,"result":true,"error":null}\n'
)


def job(number: int) -> Job:
    return msgspec.structs.replace(make_job(number), coinbase_suffix=b"\xff\xff\xff\xff" + bytes(20))


def good_job(number: int, *, clean: bool = True) -> bytes:
    return encode_notify(f"g{number}", job(number), clean)


# -- the grammar of a hostile pool

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.sampled_from([1e-300, 1e300, 2**256, 10**400, -1, 0, 0.0, 16383.75, 5e-324]),
    st.text(max_size=70),
    st.sampled_from(
        ["", "00", "0x00", "zz", "ffffffff", "00000000", "f" * 65, "00" * 32, "00" * 9000, "évil", "a\nb", "\ud83d\ude00"]
    ),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6
)
methods = st.one_of(
    st.sampled_from(
        [
            "mining.notify",
            "mining.set_difficulty",
            "mining.set_target",
            "mining.set_extranonce",
            "mining.set_version_mask",
            "client.reconnect",
            "client.show_message",
            "client.get_version",
            "mining.ping",
            "mining.set_goal",
        ]
    ),
    st.text(max_size=20),
)


def line(**members: object) -> bytes:
    return json.dumps(members).encode() + b"\n"


anything = st.builds(
    lambda method, params, id_: line(id=id_, method=method, params=params), methods, st.lists(values, max_size=10), scalars
)
answers = st.builds(lambda id_, result, error: line(id=id_, result=result, error=error), st.integers(0, 9), values, values)
difficulties = st.builds(lambda value: line(id=None, method="mining.set_difficulty", params=[value]), scalars)
extranonces = st.builds(
    lambda e1, size: line(id=None, method="mining.set_extranonce", params=[e1, size]),
    st.one_of(st.binary(max_size=20).map(bytes.hex), scalars),
    st.one_of(st.integers(-1, 20), scalars),
)
masks = st.builds(
    lambda mask: line(id=None, method="mining.set_version_mask", params=[mask]),
    st.one_of(scalars, st.integers(0, 2**32).map("{:x}".format)),
)
good_jobs = st.builds(good_job, st.integers(1, 5), clean=st.booleans())
bad_jobs = st.builds(broken_notify, good_jobs, st.sampled_from(sorted(BAD_JOBS)))


@st.composite
def bent_jobs(draw: st.DrawFn) -> bytes:
    """A good job with any one or two of its parameters replaced by anything."""
    message: dict[str, Any] = json.loads(draw(good_jobs))
    for _ in range(draw(st.integers(1, 2))):
        message["params"][draw(st.integers(0, 8))] = draw(
            st.one_of(values, st.binary(max_size=40).map(bytes.hex), st.integers(0, 2**32 - 1).map("{:08x}".format))
        )
    return json.dumps(message).encode() + b"\n"


garbage = st.one_of(
    st.binary(max_size=40),
    st.binary(max_size=40).map(lambda data: data + b"\n"),
    st.just(b"[" * 3_000 + b"\n"),
    st.just(b"\r\n\r\n"),
)
pieces = st.one_of(good_jobs, bent_jobs(), bad_jobs, anything, answers, difficulties, extranonces, masks, garbage, st.just(WELCOME))
steps = st.one_of(pieces, st.sampled_from(["submit", "wait", "hang-up", "newcomer"]))


class Siege:
    """One unit, and later ones, on a pool that may send anything; whenever its connection breaks there is the next one."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.units: list[tuple[Unit, Reader]] = []
        self.session = self._next_session()
        self.newcomer()

    def _next_session(self) -> V1Session:
        session = self.wire.pool()
        session.greet()
        self.wire.session = session
        return session

    def newcomer(self) -> None:
        rolls = bool(len(self.units) % 2)
        unit = self.wire.connect()
        self.units.append((unit, Reader(rolls_version=rolls)))
        unit.shakes_hands(f"unit-{len(self.units)}", rolls_version=rolls)
        self._read()

    def receive(self, data: bytes) -> None:
        """The pool's bytes, cut in two."""
        try:
            self.session.receive(data[: len(data) // 2])
            self.session.receive(data[len(data) // 2 :])
        except (PoolError, RemoteProtocolError):
            self.hang_up()
        self._read()

    def hang_up(self) -> None:
        self.session.ready_since_s = None
        self.session = self._next_session()
        for channel in list(self.wire.router.channels):
            self.wire.router.attach(channel, self.session)
        self._read()

    def wait(self) -> None:
        self.wire.now_s += 61.0
        self.wire.router.upkeep(list(self.wire.router.channels), 55.0)
        self._read()

    def submit(self) -> None:
        for unit, reader in self.units:
            if reader.job_ids:
                unit.says(
                    "mining.submit",
                    f"unit-{self.units.index((unit, reader)) + 1}",
                    reader.job_ids[-1],
                    "0000",
                    f"{NTIME:08x}",
                    "00000001",
                )
        self._read()

    def _read(self) -> None:
        self.wire.fan_out()
        for unit, reader in self.units:
            assert unit.connection.close_reason is None
            reader.feed(unit.heard())

    def holds(self) -> None:
        """After all of it, an honest connection brings work that a unit can do."""
        self.hang_up()
        unit, reader = self.units[0]
        self.session.receive(WELCOME + encode_set_difficulty(EASY) + good_job(77))
        for channel in list(self.wire.router.channels):
            self.wire.router.attach(channel, self.session)
        reader.feed(unit.heard())
        hello = next(answer for answer in reader.answers if isinstance(answer["result"], list))
        taken = len(self.wire.ledger.records)
        unit.says("mining.submit", "unit-1", *solve(hello, reader.last_job, reader.difficulty or 0.0))
        assert len(self.wire.ledger.records) == taken + 1


@settings(max_examples=250)
@given(st.lists(steps, max_size=25), st.booleans())
def test_every_line_a_unit_receives_is_strict_whatever_the_pool_sends(script: list[bytes | str], is_welcome: bool) -> None:
    siege = Siege()
    acts: dict[str, Callable[[], None]] = {
        "submit": siege.submit,
        "wait": siege.wait,
        "hang-up": siege.hang_up,
        "newcomer": siege.newcomer,
    }
    if is_welcome:
        siege.receive(WELCOME + good_job(1))
    for step in script:
        if isinstance(step, bytes):
            siege.receive(step)
        else:
            acts[step]()
    siege.holds()
    siege.wire.close()


@pytest.mark.parametrize("fault", sorted(BAD_JOBS))
def test_case_34_no_bad_job_reaches_a_unit(fault: str) -> None:
    siege = Siege()
    siege.receive(WELCOME + good_job(1))
    before = list(siege.units[0][1].job_ids)
    siege.receive(broken_notify(good_job(2), fault))
    assert siege.units[0][1].job_ids == before
    siege.holds()
    siege.wire.close()


def test_case_39_a_job_before_the_answers_waits_for_them_and_nothing_unasked_goes_down_before_authorize() -> None:
    siege = Siege()
    _, reader = siege.units[0]
    siege.receive(good_job(1) + good_job(2))
    silent = siege.wire.connect()
    silent.says("mining.subscribe")
    siege.receive(WELCOME)
    assert reader.methods == ["mining.set_difficulty", "mining.notify"]
    assert [each.get("method") for each in silent.lines()] == [None]
    siege.receive(good_job(3))
    assert not silent.heard()
    assert len(reader.job_ids) == 2
    siege.wire.close()


def test_case_31_ids_that_a_pool_invents_are_never_shown_to_a_unit() -> None:
    siege = Siege()
    siege.receive(WELCOME)
    for job_id in ("x" * 64, "'; --", "<script>", "0" * 64):
        siege.receive(encode_notify(job_id, job(1), True))
    assert len(siege.units[0][1].job_ids) == 4
    siege.wire.close()


def test_case_35_the_largest_job_that_passes_is_within_what_units_are_promised() -> None:
    siege = Siege()
    siege.receive(WELCOME.replace(b'"aabbccdd",8', b'"%b",16' % (b"ab" * 16)))
    largest = msgspec.structs.replace(
        job(1), coinbase_prefix=b"\x01" * 5_000, coinbase_suffix=bytes(3_000), merkle_path=(bytes(32),) * 32
    )
    siege.receive(encode_notify("1", largest, True))
    assert len(siege.units[0][1].job_ids) == 1
    siege.receive(encode_notify("2", msgspec.structs.replace(largest, coinbase_suffix=bytes(3_001)), True))
    assert len(siege.units[0][1].job_ids) == 1
    siege.wire.close()
