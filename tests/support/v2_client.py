"""A client connection on its own: set up, with channels, and what a server sends it."""

from protocol.v2 import client_events as events
from protocol.v2.client import ClientConnection
from protocol.v2.messages import common, mining
from protocol.v2.transport import Frame
from tests.support.v2 import frame_of

TARGET = 1 << 240
PREFIX = b"\xaa\xbb\xcc"
NBITS = 0x1D00FFFF
HASH = bytes(range(32))


def connected(flags: int = 0, **ways: int) -> ClientConnection:
    """A connection that is set up."""
    client = ClientConnection(**ways)
    client.setup("pool.example", 3336)
    client.receive(frame_of(common.SetupConnectionSuccess(2, flags)))
    return client


def opened(
    client: ClientConnection, channel_id: int = 7, *, size: int = 8, group_id: int = 1, prefix: bytes = PREFIX
) -> list[events.ClientEvent]:
    """Let the server open an extended channel."""
    request_id, _ = client.open_extended("account", 0.0, 2**256 - 1, 4)
    return client.receive(frame_of(mining.OpenExtendedMiningChannelSuccess(request_id, channel_id, TARGET, size, prefix, group_id)))


def with_channel(**ways: int) -> ClientConnection:
    """A connection with the extended channel 7."""
    client = connected(**ways)
    opened(client)
    return client


def job(job_id: int, *, channel_id: int = 7, min_ntime: int | None = None, **fields: object) -> Frame:
    """A job for an extended channel; a future one without min_ntime."""
    values: dict[str, object] = {
        "version": 0x20000000,
        "version_rolling_allowed": True,
        "merkle_path": (HASH,),
        "coinbase_tx_prefix": b"\x01\x00\x00\x00\x01 prefix",
        "coinbase_tx_suffix": b"suffix \x00\x00\x00\x00",
    }
    return frame_of(
        mining.NewExtendedMiningJob(channel_id=channel_id, job_id=job_id, min_ntime=min_ntime, **{**values, **fields})  # type: ignore[arg-type]
    )


def tip(job_id: int, *, channel_id: int = 7, min_ntime: int = 1_000, nbits: int = NBITS, prev_hash: bytes = HASH) -> Frame:
    """A chain tip."""
    return frame_of(mining.SetNewPrevHash(channel_id, job_id, prev_hash, min_ntime, nbits))


def work(found: list[events.ClientEvent]) -> events.JobReceived:
    """The job that is to be worked on, alone."""
    (event,) = found
    assert isinstance(event, events.JobReceived)
    return event


def standard(client: ClientConnection, channel_id: int = 7) -> None:
    """Let the server open a standard channel."""
    request_id, _ = client.open_standard("unit", 1e6, TARGET)
    client.receive(frame_of(mining.OpenStandardMiningChannelSuccess(request_id, channel_id, TARGET, PREFIX, 100)))
