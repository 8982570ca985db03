"""What a client asked of us, as `protocol.v2.server` found it valid: one Struct for each kind.

Numbers are checked, names are not: identities and codes are bytes of the client's choice. `reply` is a plaintext frame that is to
be sent whatever else is done.
"""

import msgspec


class ServerEvent(msgspec.Struct, frozen=True, gc=False):
    """Base of all."""


class ConnectionSetUp(ServerEvent, frozen=True, gc=False):
    """The connection is accepted; what the client said of itself, telemetry only."""

    reply: bytes
    requires_standard_jobs: bool
    requires_version_rolling: bool
    vendor: bytes
    hardware_version: bytes
    firmware: bytes
    device_id: bytes


class ExtensionsAgreed(ServerEvent, frozen=True, gc=False):
    """These extensions are in force, besides those agreed on before."""

    reply: bytes
    extensions: tuple[int, ...]


class ChannelWanted(ServerEvent, frozen=True, gc=False):
    """Answer with `open_standard`, `open_extended` or `refuse_channel`. nominal_hash_rate in hashes/s, 0.0: not known yet.

    max_target: the easiest target that the client takes. min_extranonce_size: bytes it wants to roll; 0 for a standard channel.
    """

    request_id: int
    is_extended: bool
    user_identity: bytes
    nominal_hash_rate: float
    max_target: int
    min_extranonce_size: int


class ChannelUpdated(ServerEvent, frozen=True, gc=False):
    """No answer is due. A target above `max_target` is to be lowered by `set_target`."""

    channel_id: int
    nominal_hash_rate: float
    max_target: int


class ChannelsClosed(ServerEvent, frozen=True, gc=False):
    """The client closed a channel, or all of a group. They are closed already; nothing may be sent to them any more."""

    channel_ids: tuple[int, ...]
    reason_code: bytes


class ShareSubmitted(ServerEvent, frozen=True, gc=False):
    """A share for an open channel of the right kind, of unknown worth. version is the whole header field.

    extranonce: the rolled part, b"" on a standard channel. user_identity: the worker, where extension 0x0002 is agreed on and the
    share named one.
    """

    channel_id: int
    sequence_number: int
    job_id: int
    nonce: int
    ntime: int
    version: int
    extranonce: bytes
    user_identity: bytes | None


class Refused(ServerEvent, frozen=True, gc=False):
    """The client asked what cannot be; it may go on. reply may be empty: nothing is to be said.

    channel_id: the open channel that it was about, if any; is_share: it was a share.
    """

    reply: bytes
    error_code: bytes
    channel_id: int | None = None
    is_share: bool = False
