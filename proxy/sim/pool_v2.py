"""A Stratum V2 pool that is real in everything but its chain: Noise with its own authority, channels of all kinds, full judging.

What it shares with the twin that speaks Stratum V1 is in `pool_core`; here are its identity, extranonce prefixes, and the faults
that only V2 can have.
"""

import random
from collections.abc import Callable

import trio

from protocol.v2.codec import encode_frame
from protocol.v2.constants import EXTENSION_WORKER_TRACKING
from protocol.v2.identity import ServerIdentity
from protocol.v2.keys import encode_authority_key, new_authority_key, new_noise_key
from protocol.v2.messages.base import Unknown
from protocol.v2.messages.mining import NewExtendedMiningJob, SetNewPrevHash
from proxy.sim.pool_core import PoolCore, PoolCoreSpec
from proxy.sim.pool_v2_faults import FaultsV2
from proxy.sim.pool_v2_session import PoolSessionV2

NOBODYS_CHANNEL = 0x7FFF_FFF0
NOBODYS_JOB = 0x7FFF_FFF1


class PoolSpecV2(PoolCoreSpec, frozen=True, kw_only=True):
    """How a pool that speaks Stratum V2 is set up.

    Each channel gets a prefix of `prefix_bytes`, and `extranonce_bytes` to roll. share_batch: accepted shares in one message.
    """

    prefix_bytes: int = 8
    extranonce_bytes: int = 8
    rolls_version: bool = True
    extended_only: bool = False
    uses_groups: bool = True
    extensions: frozenset[int] = frozenset({EXTENSION_WORKER_TRACKING})
    required_extensions: frozenset[int] = frozenset()
    share_batch: int = 10


class SimPoolV2(PoolCore[PoolSessionV2]):
    """One Stratum V2 pool."""

    def __init__(self, spec: PoolSpecV2, rng: random.Random, wall_clock: Callable[[], float]) -> None:
        self.spec = spec
        self.faults = FaultsV2()
        super().__init__(spec, self.faults, rng, wall_clock)
        self.updates = 0  # UpdateChannel messages
        self.authority = new_authority_key(rng.randbytes)
        self._static = new_noise_key(rng.randbytes)
        self.identity = ServerIdentity.self_signed(self._static, self.authority, rng.randbytes, wall_clock())
        self._next_prefix = rng.getrandbits(8 * spec.prefix_bytes)

    def open_session(self, stream: trio.abc.Stream) -> PoolSessionV2:
        """See PoolCore. The certificate is renewed when it is due."""
        self.identity.refresh(self.wall_clock())
        return PoolSessionV2(self, stream)

    @property
    def authority_key(self) -> str:
        """What stands in its URL."""
        return encode_authority_key(self.authority.public_x)

    @property
    def url(self) -> str:
        """Where it listens on loopback, once it does."""
        return f"stratum2+tcp://127.0.0.1:{self.port}/{self.authority_key}"

    @property
    def nominal_hash_rate(self) -> float:
        """What its clients say they have, in hashes/s."""
        return sum(channel.nominal_hash_rate for session in self.sessions for channel in session.channels.values())

    def fresh_prefix(self) -> bytes:
        """An extranonce prefix that no channel has had for long."""
        size = self.spec.prefix_bytes
        self._next_prefix = (self._next_prefix + 1) % (1 << 8 * size)
        return self._next_prefix.to_bytes(size, "big")

    # --- faults that are acts

    def set_difficulty(self, difficulty: float) -> None:
        """For everybody and all to come; counts from each one's next job."""
        self.difficulty = difficulty
        self.each(lambda session: session.set_difficulty(difficulty))

    def set_prefix(self) -> None:
        """Everybody gets another prefix, then a job that uses it."""
        self.each(lambda session: session.set_prefix())
        self.refresh()

    def break_macs(self) -> None:
        """Everybody gets a job that cannot be opened."""
        self.each(lambda session: session.break_mac())
        self.refresh()

    def flood_futures(self, count: int) -> None:
        """Everybody gets so many future jobs that are never used."""
        self.each(lambda session: session.send_futures(count))

    def close_channels(self, reason: bytes = b"bye") -> None:
        """Every channel is closed, no connection is."""
        self.each(lambda session: _closed(session, reason))

    def write_to_closed_channels(self) -> None:
        """Every channel is closed, and then spoken to."""
        for session in self.sessions:
            for channel_id in session.close_channels(b"bye"):
                session.send_frame(_job_for(channel_id))

    def write_to_nobodys_channel(self) -> None:
        """A job for a channel that was never opened."""
        self.each(lambda session: session.send_frame(_job_for(NOBODYS_CHANNEL)))

    def send_tip_without_job(self) -> None:
        """A chain tip that names a job nobody was sent: all work is worthless, and there is none."""
        template = self.template
        for session in self.sessions:
            for channel_id in session.channels:
                tip = SetNewPrevHash(
                    channel_id=channel_id,
                    job_id=NOBODYS_JOB,
                    prev_hash=template.prev_hash,
                    min_ntime=template.ntime,
                    nbits=template.nbits,
                )
                session.send_frame(encode_frame(tip))

    def send_unknown(self) -> None:
        """Messages of an extension, and of a type, that nobody knows."""
        for extension_type, is_channel in ((0x4242, False), (0x4242, True), (0, False)):
            frame = encode_frame(Unknown(extension_type, is_channel, 0x7E, b"\x01\x00\x00\x00what"))
            self.each(lambda session, frame=frame: session.send_frame(frame))  # type: ignore[misc]  # bound now, not later

    def ask_reconnect(self, host: str = "", port: int = 0) -> None:
        """Reconnect to everybody; no host and port: here again."""
        self.each(lambda session: session.ask_reconnect(host, port))

    def expire_certificate(self) -> None:
        """From now on the certificate is of yesterday, and nobody renews it."""
        yesterday = self.wall_clock() - 86_400.0
        # Checked against the clock of then; afterwards only its bearer's clients look at it.
        self.identity = _Unrenewed.self_signed(self._static, self.authority, self.rng.randbytes, yesterday, 3_600)

    def change_authority(self) -> None:
        """From now on somebody else vouches for the pool."""
        other = new_authority_key(self.rng.randbytes)
        self.identity = ServerIdentity.self_signed(self._static, other, self.rng.randbytes, self.wall_clock())


class _Unrenewed(ServerIdentity):
    """An identity whose owner has forgotten it."""

    def refresh(self, now_unix_s: float) -> bool:
        """Nothing."""
        return False


def _closed(session: PoolSessionV2, reason: bytes) -> None:
    session.close_channels(reason)


def _job_for(channel_id: int) -> bytes:
    return encode_frame(
        NewExtendedMiningJob(
            channel_id=channel_id,
            job_id=NOBODYS_JOB,
            min_ntime=None,
            version=0x20000000,
            version_rolling_allowed=True,
            merkle_path=(),
            coinbase_tx_prefix=bytes(40),
            coinbase_tx_suffix=bytes(40),
        )
    )
