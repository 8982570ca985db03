"""What a server tells a Stratum V2 client, as events: each a fact about the connection or one channel.

Messages to a group of channels become one event for each member. Codes are the peer's own bytes: text for people, never a reason to
act. It does NOT say what follows from an event; protocol.v2.client makes them.
"""

import msgspec


class SetUp(msgspec.Struct, frozen=True, gc=False):
    """The server takes the connection. requires_fixed_version: no version rolling; requires_extended: no standard channels."""

    requires_fixed_version: bool
    requires_extended: bool


class SetupRefused(msgspec.Struct, frozen=True, gc=False):
    """The server does not take the connection. flags: those that it does not support; 0: another reason."""

    flags: int
    code: bytes


class ExtensionsAgreed(msgspec.Struct, frozen=True, gc=False):
    """The extensions in force from now on: those we asked for and the server granted."""

    extensions: frozenset[int]


class ExtensionsRefused(msgspec.Struct, frozen=True, gc=False):
    """None is granted. required: the server hangs up unless a further request asks for these."""

    unsupported: tuple[int, ...]
    required: tuple[int, ...]


class ChannelOpened(msgspec.Struct, frozen=True, gc=False):
    """A channel is open. extranonce_size: what we roll, 0 for a standard channel."""

    request_id: int
    channel_id: int
    is_extended: bool
    target: int
    extranonce_prefix: bytes
    extranonce_size: int
    group_channel_id: int


class ChannelRefused(msgspec.Struct, frozen=True, gc=False):
    """The request for a channel was refused."""

    request_id: int
    code: bytes


class JobReceived(msgspec.Struct, frozen=True, gc=False):
    """A job that may be worked on now; a future job becomes one when its chain tip comes.

    clean: everything earlier on this channel is worthless. target and extranonce_prefix are frozen: what comes later does not
    change them. merkle_root: on a standard channel, else None and the coinbase parts hold (without BIP 141 fields).
    """

    channel_id: int
    job_id: int
    version: int
    is_version_rolling_allowed: bool
    prev_hash: bytes
    nbits: int
    min_ntime: int
    target: int
    extranonce_prefix: bytes
    merkle_root: bytes | None
    coinbase_prefix: bytes
    coinbase_suffix: bytes
    merkle_path: tuple[bytes, ...]
    clean: bool


class TipWithoutJob(msgspec.Struct, frozen=True, gc=False):
    """A new chain tip names a job that has not come: earlier work is worthless, and there is none until it comes."""

    channel_id: int
    job_id: int


class TargetSet(msgspec.Struct, frozen=True, gc=False):
    """The target of jobs that become workable from now on; jobs already out keep theirs."""

    channel_id: int
    target: int


class PrefixSet(msgspec.Struct, frozen=True, gc=False):
    """The extranonce prefix of jobs that are sent from now on; jobs already out keep theirs."""

    channel_id: int
    extranonce_prefix: bytes


class SharesAccepted(msgspec.Struct, frozen=True, gc=False):
    """Shares up to `last_sequence` are settled. count and work_sum (of difficulties) are of this batch alone."""

    channel_id: int
    last_sequence: int
    count: int
    work_sum: int


class ShareRefused(msgspec.Struct, frozen=True, gc=False):
    """One share was refused."""

    channel_id: int
    sequence: int
    code: bytes


class UpdateRefused(msgspec.Struct, frozen=True, gc=False):
    """The last update of the channel was refused."""

    channel_id: int
    code: bytes


class ChannelClosed(msgspec.Struct, frozen=True, gc=False):
    """The server closed the channel; its id means nothing any more."""

    channel_id: int
    code: bytes


class ReconnectAsked(msgspec.Struct, frozen=True, gc=False):
    """The server asks for a connection elsewhere, with the same authority key. None: as now."""

    host: str | None
    port: int | None


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A message that cannot be used; the last good value stays. channel_id: None where it belongs to no open channel."""

    channel_id: int | None
    message: str
    reason: str


class Ignored(msgspec.Struct, frozen=True, gc=False):
    """A message that does not concern us: an extension or a type that nobody agreed on."""

    message: str


ClientEvent = (
    SetUp
    | SetupRefused
    | ExtensionsAgreed
    | ExtensionsRefused
    | ChannelOpened
    | ChannelRefused
    | JobReceived
    | TipWithoutJob
    | TargetSet
    | PrefixSet
    | SharesAccepted
    | ShareRefused
    | UpdateRefused
    | ChannelClosed
    | ReconnectAsked
    | Refused
    | Ignored
)
