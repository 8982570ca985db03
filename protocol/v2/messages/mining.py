"""Messages of the mining protocol (specification 5.3), in the order of their numbers."""

from protocol.v2.messages.base import Message


class OpenStandardMiningChannel(Message, frozen=True, gc=False):
    """Asks for a channel whose coinbase we never see. nominal_hash_rate in hashes/s; max_target: the easiest target we take."""

    request_id: int
    user_identity: bytes
    nominal_hash_rate: float
    max_target: int


class OpenStandardMiningChannelSuccess(Message, frozen=True, gc=False):
    """The channel is open; its first job follows."""

    request_id: int
    channel_id: int
    target: int
    extranonce_prefix: bytes
    group_channel_id: int


class OpenMiningChannelError(Message, frozen=True, gc=False):
    """The answer to a refused request for either kind of channel."""

    request_id: int
    error_code: bytes


class OpenExtendedMiningChannel(Message, frozen=True, gc=False):
    """Asks for a channel with an extranonce of at least `min_extranonce_size` bytes of our own."""

    request_id: int
    user_identity: bytes
    nominal_hash_rate: float
    max_target: int
    min_extranonce_size: int


class OpenExtendedMiningChannelSuccess(Message, frozen=True, gc=False):
    """The channel is open. Shares carry exactly `extranonce_size` bytes, without the prefix."""

    request_id: int
    channel_id: int
    target: int
    extranonce_size: int
    extranonce_prefix: bytes
    group_channel_id: int


class NewMiningJob(Message, frozen=True, gc=False):
    """A job for a standard channel. min_ntime None: a future job, worked on when a SetNewPrevHash names it."""

    channel_id: int
    job_id: int
    min_ntime: int | None
    version: int
    merkle_root: bytes


class UpdateChannel(Message, frozen=True, gc=False):
    """The client's hashrate changed, or it wants another target. Never answered when accepted."""

    channel_id: int
    nominal_hash_rate: float
    maximum_target: int


class UpdateChannelError(Message, frozen=True, gc=False):
    """The last UpdateChannel of this channel was not valid."""

    channel_id: int
    error_code: bytes


class CloseChannel(Message, frozen=True, gc=False):
    """Either side closes a channel, or a group of them. Never echoed."""

    channel_id: int
    reason_code: bytes


class SetExtranoncePrefix(Message, frozen=True, gc=False):
    """A new prefix for jobs sent after this message; earlier jobs keep theirs."""

    channel_id: int
    extranonce_prefix: bytes


class SubmitSharesStandard(Message, frozen=True, gc=False):
    """A share. version and ntime are the whole header fields."""

    channel_id: int
    sequence_number: int
    job_id: int
    nonce: int
    ntime: int
    version: int


class SubmitSharesExtended(Message, frozen=True, gc=False):
    """A share of an extended channel. extranonce is our part of it only."""

    channel_id: int
    sequence_number: int
    job_id: int
    nonce: int
    ntime: int
    version: int
    extranonce: bytes


class SubmitSharesSuccess(Message, frozen=True, gc=False):
    """Shares up to `last_sequence_number` are settled. Count and sum (of job difficulties) are of this batch alone."""

    channel_id: int
    last_sequence_number: int
    new_submits_accepted_count: int
    new_shares_sum: int


class SubmitSharesError(Message, frozen=True, gc=False):
    """One share was refused."""

    channel_id: int
    sequence_number: int
    error_code: bytes


class NewExtendedMiningJob(Message, frozen=True, gc=False):
    """A job for an extended channel or a group. The coinbase parts are without BIP 141 fields."""

    channel_id: int
    job_id: int
    min_ntime: int | None
    version: int
    version_rolling_allowed: bool
    merkle_path: tuple[bytes, ...]
    coinbase_tx_prefix: bytes
    coinbase_tx_suffix: bytes


class SetNewPrevHash(Message, frozen=True, gc=False):
    """A new chain tip: the future job `job_id` is the only valid one from now on."""

    channel_id: int
    job_id: int
    prev_hash: bytes
    min_ntime: int
    nbits: int


class SetTarget(Message, frozen=True, gc=False):
    """The target of jobs that come later and of stored future jobs, never of the active one."""

    channel_id: int
    maximum_target: int


class SetCustomMiningJob(Message, frozen=True, gc=False):
    """A client that declared its own job asks to be paid for it."""

    channel_id: int
    request_id: int
    mining_job_token: bytes
    version: int
    prev_hash: bytes
    min_ntime: int
    nbits: int
    coinbase_tx_version: int
    coinbase_prefix: bytes
    coinbase_tx_input_n_sequence: int
    coinbase_tx_outputs: bytes
    coinbase_tx_locktime: int
    merkle_path: tuple[bytes, ...]


class SetCustomMiningJobSuccess(Message, frozen=True, gc=False):
    """Shares of the custom job are sent under `job_id`."""

    channel_id: int
    request_id: int
    job_id: int


class SetCustomMiningJobError(Message, frozen=True, gc=False):
    """The custom job is not paid."""

    channel_id: int
    request_id: int
    error_code: bytes


class SetGroupChannel(Message, frozen=True, gc=False):
    """These channels now belong to this group."""

    group_channel_id: int
    channel_ids: tuple[int, ...]
