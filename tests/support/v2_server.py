"""A server connection on its own: past its set-up, with channels, and what goes over it in both directions."""

from protocol.v2.messages import mining
from protocol.v2.messages.base import Message
from protocol.v2.offer import Offer
from protocol.v2.server import ServerConnection
from protocol.v2.server_events import (
    ChannelWanted,
    ConnectionSetUp,
    Refused,
)
from tests.support.v2 import frame_of, messages_in, open_extended, open_standard, setup

TARGET = 1 << 240


def ready(offer: Offer = Offer(), flags: int = 0) -> ServerConnection:
    """A connection past its set-up."""
    connection = ServerConnection(offer)
    assert isinstance(connection.receive(frame_of(setup(flags))), ConnectionSetUp)
    return connection


def extended(connection: ServerConnection, request_id: int = 1, **fields: object) -> int:
    """Open an extended channel; its id."""
    wanted = connection.receive(frame_of(open_extended(request_id, **fields)))
    assert isinstance(wanted, ChannelWanted)
    return connection.open_extended(wanted, TARGET, request_id.to_bytes(2, "big"), 2)[0]


def standard(connection: ServerConnection, request_id: int = 1) -> int:
    """Open a standard channel; its id."""
    wanted = connection.receive(frame_of(open_standard(request_id)))
    assert isinstance(wanted, ChannelWanted)
    return connection.open_standard(wanted, TARGET, request_id.to_bytes(4, "big"))[0]


def extended_job(job_id: int, min_ntime: int | None = None) -> mining.NewExtendedMiningJob:
    """A job for extended channels; a future one without min_ntime."""
    return mining.NewExtendedMiningJob(
        channel_id=0,
        job_id=job_id,
        min_ntime=min_ntime,
        version=0x20000000,
        version_rolling_allowed=True,
        merkle_path=(),
        coinbase_tx_prefix=b"prefix",
        coinbase_tx_suffix=b"suffix",
    )


def standard_job(job_id: int, min_ntime: int | None = None) -> mining.NewMiningJob:
    """The same for a standard channel."""
    return mining.NewMiningJob(channel_id=0, job_id=job_id, min_ntime=min_ntime, version=0x20000000, merkle_root=bytes(32))


def tip(job_id: int) -> mining.SetNewPrevHash:
    """The chain tip that activates a job."""
    return mining.SetNewPrevHash(channel_id=0, job_id=job_id, prev_hash=bytes(32), min_ntime=1, nbits=0x1D00FFFF)


def extended_share(channel_id: int, sequence_number: int = 7) -> mining.SubmitSharesExtended:
    """A share of job 1."""
    return mining.SubmitSharesExtended(
        channel_id=channel_id, sequence_number=sequence_number, job_id=1, nonce=2, ntime=3, version=4, extranonce=b"ab"
    )


def standard_share(channel_id: int) -> mining.SubmitSharesStandard:
    """The same of a standard channel."""
    return mining.SubmitSharesStandard(channel_id=channel_id, sequence_number=7, job_id=1, nonce=2, ntime=3, version=4)


def refusal(event: object, kind: type[Message]) -> Message:
    """The one message that a refusal answers with."""
    assert isinstance(event, Refused)
    (message,) = messages_in(event.reply)
    assert isinstance(message, kind)
    return message
