"""Codecs of the mining messages, made by protocol/v2/codegen.py from protocol/v2/layouts.py. Not to be edited.

Call them through protocol/v2/codec.py, which knows what their exceptions mean.
"""

from struct import Struct

from protocol.v2.messages.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
    SetCustomMiningJob,
    SetCustomMiningJobError,
    SetCustomMiningJobSuccess,
    SetExtranoncePrefix,
    SetGroupChannel,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesStandard,
    SubmitSharesSuccess,
    UpdateChannel,
    UpdateChannelError,
)
from protocol.v2.primitives import (
    TRUNCATED,
    check_code,
    check_f32,
    codec,
    read_hashes,
    read_ints,
    read_option,
    write_hashes,
    write_ints,
    write_option,
)

_OPEN_STANDARD_MINING_CHANNEL_0 = Struct("<IB")
_OPEN_STANDARD_MINING_CHANNEL_1 = Struct("<f32s")
_OPEN_STANDARD_MINING_CHANNEL_SUCCESS_0 = Struct("<2I32sB")
_OPEN_STANDARD_MINING_CHANNEL_SUCCESS_1 = Struct("<I")
_OPEN_MINING_CHANNEL_ERROR_0 = Struct("<IB")
_OPEN_EXTENDED_MINING_CHANNEL_0 = Struct("<IB")
_OPEN_EXTENDED_MINING_CHANNEL_1 = Struct("<f32sH")
_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS_0 = Struct("<2I32sHB")
_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS_1 = Struct("<I")
_NEW_MINING_JOB_0 = Struct("<2IB")
_NEW_MINING_JOB_1 = Struct("<I32s")
_UPDATE_CHANNEL_0 = Struct("<If32s")
_UPDATE_CHANNEL_ERROR_0 = Struct("<IB")
_CLOSE_CHANNEL_0 = Struct("<IB")
_SET_EXTRANONCE_PREFIX_0 = Struct("<IB")
_SUBMIT_SHARES_STANDARD_0 = Struct("<6I")
_SUBMIT_SHARES_EXTENDED_0 = Struct("<6IB")
_SUBMIT_SHARES_SUCCESS_0 = Struct("<3IQ")
_SUBMIT_SHARES_ERROR_0 = Struct("<2IB")
_NEW_EXTENDED_MINING_JOB_0 = Struct("<2IB")
_NEW_EXTENDED_MINING_JOB_1 = Struct("<I2B")
_NEW_EXTENDED_MINING_JOB_2 = Struct("<H")
_NEW_EXTENDED_MINING_JOB_3 = Struct("<H")
_SET_NEW_PREV_HASH_0 = Struct("<2I32s2I")
_SET_TARGET_0 = Struct("<I32s")
_SET_CUSTOM_MINING_JOB_0 = Struct("<2IB")
_SET_CUSTOM_MINING_JOB_1 = Struct("<I32s3IB")
_SET_CUSTOM_MINING_JOB_2 = Struct("<IH")
_SET_CUSTOM_MINING_JOB_3 = Struct("<IB")
_SET_CUSTOM_MINING_JOB_SUCCESS_0 = Struct("<3I")
_SET_CUSTOM_MINING_JOB_ERROR_0 = Struct("<2IB")
_SET_GROUP_CHANNEL_0 = Struct("<IH")


def encode_open_standard_mining_channel(message: OpenStandardMiningChannel) -> bytes:
    """The payload of OpenStandardMiningChannel."""
    return b"".join(
        (
            _OPEN_STANDARD_MINING_CHANNEL_0.pack(message.request_id, len(message.user_identity)),
            message.user_identity,
            _OPEN_STANDARD_MINING_CHANNEL_1.pack(
                check_f32("nominal_hash_rate", message.nominal_hash_rate), message.max_target.to_bytes(32, "little")
            ),
        )
    )


def decode_open_standard_mining_channel(data: bytes) -> tuple[OpenStandardMiningChannel, int]:
    """OpenStandardMiningChannel, and the offset of what follows it."""
    request_id, n_user_identity = _OPEN_STANDARD_MINING_CHANNEL_0.unpack_from(data)
    at = 5 + n_user_identity
    user_identity = data[5:at]
    nominal_hash_rate, max_target = _OPEN_STANDARD_MINING_CHANNEL_1.unpack_from(data, at)
    return OpenStandardMiningChannel(
        request_id, user_identity, check_f32("nominal_hash_rate", nominal_hash_rate), int.from_bytes(max_target, "little")
    ), at + 36


def encode_open_standard_mining_channel_success(message: OpenStandardMiningChannelSuccess) -> bytes:
    """The payload of OpenStandardMiningChannel.Success."""
    if len(message.extranonce_prefix) > 32:
        raise ValueError("extranonce_prefix: more than 32 bytes")
    return b"".join(
        (
            _OPEN_STANDARD_MINING_CHANNEL_SUCCESS_0.pack(
                message.request_id, message.channel_id, message.target.to_bytes(32, "little"), len(message.extranonce_prefix)
            ),
            message.extranonce_prefix,
            _OPEN_STANDARD_MINING_CHANNEL_SUCCESS_1.pack(message.group_channel_id),
        )
    )


def decode_open_standard_mining_channel_success(data: bytes) -> tuple[OpenStandardMiningChannelSuccess, int]:
    """OpenStandardMiningChannel.Success, and the offset of what follows it."""
    request_id, channel_id, target, n_extranonce_prefix = _OPEN_STANDARD_MINING_CHANNEL_SUCCESS_0.unpack_from(data)
    if n_extranonce_prefix > 32:
        raise ValueError("extranonce_prefix: more than 32 bytes")
    at = 41 + n_extranonce_prefix
    extranonce_prefix = data[41:at]
    (group_channel_id,) = _OPEN_STANDARD_MINING_CHANNEL_SUCCESS_1.unpack_from(data, at)
    return OpenStandardMiningChannelSuccess(
        request_id, channel_id, int.from_bytes(target, "little"), extranonce_prefix, group_channel_id
    ), at + 4


def encode_open_mining_channel_error(message: OpenMiningChannelError) -> bytes:
    """The payload of OpenMiningChannel.Error."""
    return _OPEN_MINING_CHANNEL_ERROR_0.pack(message.request_id, len(message.error_code)) + check_code(
        "error_code", message.error_code
    )


def decode_open_mining_channel_error(data: bytes) -> tuple[OpenMiningChannelError, int]:
    """OpenMiningChannel.Error, and the offset of what follows it."""
    request_id, n_error_code = _OPEN_MINING_CHANNEL_ERROR_0.unpack_from(data)
    at = 5 + n_error_code
    error_code = data[5:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return OpenMiningChannelError(request_id, error_code), at


def encode_open_extended_mining_channel(message: OpenExtendedMiningChannel) -> bytes:
    """The payload of OpenExtendedMiningChannel."""
    return b"".join(
        (
            _OPEN_EXTENDED_MINING_CHANNEL_0.pack(message.request_id, len(message.user_identity)),
            message.user_identity,
            _OPEN_EXTENDED_MINING_CHANNEL_1.pack(
                check_f32("nominal_hash_rate", message.nominal_hash_rate),
                message.max_target.to_bytes(32, "little"),
                message.min_extranonce_size,
            ),
        )
    )


def decode_open_extended_mining_channel(data: bytes) -> tuple[OpenExtendedMiningChannel, int]:
    """OpenExtendedMiningChannel, and the offset of what follows it."""
    request_id, n_user_identity = _OPEN_EXTENDED_MINING_CHANNEL_0.unpack_from(data)
    at = 5 + n_user_identity
    user_identity = data[5:at]
    nominal_hash_rate, max_target, min_extranonce_size = _OPEN_EXTENDED_MINING_CHANNEL_1.unpack_from(data, at)
    return OpenExtendedMiningChannel(
        request_id,
        user_identity,
        check_f32("nominal_hash_rate", nominal_hash_rate),
        int.from_bytes(max_target, "little"),
        min_extranonce_size,
    ), at + 38


def encode_open_extended_mining_channel_success(message: OpenExtendedMiningChannelSuccess) -> bytes:
    """The payload of OpenExtendedMiningChannel.Success."""
    if len(message.extranonce_prefix) > 32:
        raise ValueError("extranonce_prefix: more than 32 bytes")
    return b"".join(
        (
            _OPEN_EXTENDED_MINING_CHANNEL_SUCCESS_0.pack(
                message.request_id,
                message.channel_id,
                message.target.to_bytes(32, "little"),
                message.extranonce_size,
                len(message.extranonce_prefix),
            ),
            message.extranonce_prefix,
            _OPEN_EXTENDED_MINING_CHANNEL_SUCCESS_1.pack(message.group_channel_id),
        )
    )


def decode_open_extended_mining_channel_success(data: bytes) -> tuple[OpenExtendedMiningChannelSuccess, int]:
    """OpenExtendedMiningChannel.Success, and the offset of what follows it."""
    request_id, channel_id, target, extranonce_size, n_extranonce_prefix = _OPEN_EXTENDED_MINING_CHANNEL_SUCCESS_0.unpack_from(data)
    if n_extranonce_prefix > 32:
        raise ValueError("extranonce_prefix: more than 32 bytes")
    at = 43 + n_extranonce_prefix
    extranonce_prefix = data[43:at]
    (group_channel_id,) = _OPEN_EXTENDED_MINING_CHANNEL_SUCCESS_1.unpack_from(data, at)
    return OpenExtendedMiningChannelSuccess(
        request_id, channel_id, int.from_bytes(target, "little"), extranonce_size, extranonce_prefix, group_channel_id
    ), at + 4


def encode_new_mining_job(message: NewMiningJob) -> bytes:
    """The payload of NewMiningJob."""
    if len(message.merkle_root) != 32:
        raise ValueError("merkle_root: not 32 bytes")
    return b"".join(
        (
            _NEW_MINING_JOB_0.pack(message.channel_id, message.job_id, message.min_ntime is not None),
            write_option(message.min_ntime),
            _NEW_MINING_JOB_1.pack(message.version, message.merkle_root),
        )
    )


def decode_new_mining_job(data: bytes) -> tuple[NewMiningJob, int]:
    """NewMiningJob, and the offset of what follows it."""
    channel_id, job_id, n_min_ntime = _NEW_MINING_JOB_0.unpack_from(data)
    min_ntime, at = read_option(data, 9, n_min_ntime)
    version, merkle_root = _NEW_MINING_JOB_1.unpack_from(data, at)
    return NewMiningJob(channel_id, job_id, min_ntime, version, merkle_root), at + 36


def encode_update_channel(message: UpdateChannel) -> bytes:
    """The payload of UpdateChannel."""
    return _UPDATE_CHANNEL_0.pack(
        message.channel_id, check_f32("nominal_hash_rate", message.nominal_hash_rate), message.maximum_target.to_bytes(32, "little")
    )


def decode_update_channel(data: bytes) -> tuple[UpdateChannel, int]:
    """UpdateChannel, and the offset of what follows it."""
    channel_id, nominal_hash_rate, maximum_target = _UPDATE_CHANNEL_0.unpack_from(data)
    return UpdateChannel(
        channel_id, check_f32("nominal_hash_rate", nominal_hash_rate), int.from_bytes(maximum_target, "little")
    ), 40


def encode_update_channel_error(message: UpdateChannelError) -> bytes:
    """The payload of UpdateChannel.Error."""
    return _UPDATE_CHANNEL_ERROR_0.pack(message.channel_id, len(message.error_code)) + check_code("error_code", message.error_code)


def decode_update_channel_error(data: bytes) -> tuple[UpdateChannelError, int]:
    """UpdateChannel.Error, and the offset of what follows it."""
    channel_id, n_error_code = _UPDATE_CHANNEL_ERROR_0.unpack_from(data)
    at = 5 + n_error_code
    error_code = data[5:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return UpdateChannelError(channel_id, error_code), at


def encode_close_channel(message: CloseChannel) -> bytes:
    """The payload of CloseChannel."""
    return _CLOSE_CHANNEL_0.pack(message.channel_id, len(message.reason_code)) + check_code("reason_code", message.reason_code)


def decode_close_channel(data: bytes) -> tuple[CloseChannel, int]:
    """CloseChannel, and the offset of what follows it."""
    channel_id, n_reason_code = _CLOSE_CHANNEL_0.unpack_from(data)
    at = 5 + n_reason_code
    reason_code = data[5:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return CloseChannel(channel_id, reason_code), at


def encode_set_extranonce_prefix(message: SetExtranoncePrefix) -> bytes:
    """The payload of SetExtranoncePrefix."""
    if len(message.extranonce_prefix) > 32:
        raise ValueError("extranonce_prefix: more than 32 bytes")
    return _SET_EXTRANONCE_PREFIX_0.pack(message.channel_id, len(message.extranonce_prefix)) + message.extranonce_prefix


def decode_set_extranonce_prefix(data: bytes) -> tuple[SetExtranoncePrefix, int]:
    """SetExtranoncePrefix, and the offset of what follows it."""
    channel_id, n_extranonce_prefix = _SET_EXTRANONCE_PREFIX_0.unpack_from(data)
    if n_extranonce_prefix > 32:
        raise ValueError("extranonce_prefix: more than 32 bytes")
    at = 5 + n_extranonce_prefix
    extranonce_prefix = data[5:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return SetExtranoncePrefix(channel_id, extranonce_prefix), at


def encode_submit_shares_standard(message: SubmitSharesStandard) -> bytes:
    """The payload of SubmitSharesStandard."""
    return _SUBMIT_SHARES_STANDARD_0.pack(
        message.channel_id, message.sequence_number, message.job_id, message.nonce, message.ntime, message.version
    )


def decode_submit_shares_standard(data: bytes) -> tuple[SubmitSharesStandard, int]:
    """SubmitSharesStandard, and the offset of what follows it."""
    return SubmitSharesStandard(*_SUBMIT_SHARES_STANDARD_0.unpack_from(data)), 24


def encode_submit_shares_extended(message: SubmitSharesExtended) -> bytes:
    """The payload of SubmitSharesExtended."""
    if len(message.extranonce) > 32:
        raise ValueError("extranonce: more than 32 bytes")
    return (
        _SUBMIT_SHARES_EXTENDED_0.pack(
            message.channel_id,
            message.sequence_number,
            message.job_id,
            message.nonce,
            message.ntime,
            message.version,
            len(message.extranonce),
        )
        + message.extranonce
    )


def decode_submit_shares_extended(data: bytes) -> tuple[SubmitSharesExtended, int]:
    """SubmitSharesExtended, and the offset of what follows it."""
    channel_id, sequence_number, job_id, nonce, ntime, version, n_extranonce = _SUBMIT_SHARES_EXTENDED_0.unpack_from(data)
    if n_extranonce > 32:
        raise ValueError("extranonce: more than 32 bytes")
    at = 25 + n_extranonce
    extranonce = data[25:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return SubmitSharesExtended(channel_id, sequence_number, job_id, nonce, ntime, version, extranonce), at


def encode_submit_shares_success(message: SubmitSharesSuccess) -> bytes:
    """The payload of SubmitShares.Success."""
    return _SUBMIT_SHARES_SUCCESS_0.pack(
        message.channel_id, message.last_sequence_number, message.new_submits_accepted_count, message.new_shares_sum
    )


def decode_submit_shares_success(data: bytes) -> tuple[SubmitSharesSuccess, int]:
    """SubmitShares.Success, and the offset of what follows it."""
    return SubmitSharesSuccess(*_SUBMIT_SHARES_SUCCESS_0.unpack_from(data)), 20


def encode_submit_shares_error(message: SubmitSharesError) -> bytes:
    """The payload of SubmitShares.Error."""
    return _SUBMIT_SHARES_ERROR_0.pack(message.channel_id, message.sequence_number, len(message.error_code)) + check_code(
        "error_code", message.error_code
    )


def decode_submit_shares_error(data: bytes) -> tuple[SubmitSharesError, int]:
    """SubmitShares.Error, and the offset of what follows it."""
    channel_id, sequence_number, n_error_code = _SUBMIT_SHARES_ERROR_0.unpack_from(data)
    at = 9 + n_error_code
    error_code = data[9:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return SubmitSharesError(channel_id, sequence_number, error_code), at


def encode_new_extended_mining_job(message: NewExtendedMiningJob) -> bytes:
    """The payload of NewExtendedMiningJob."""
    return b"".join(
        (
            _NEW_EXTENDED_MINING_JOB_0.pack(message.channel_id, message.job_id, message.min_ntime is not None),
            write_option(message.min_ntime),
            _NEW_EXTENDED_MINING_JOB_1.pack(message.version, 1 if message.version_rolling_allowed else 0, len(message.merkle_path)),
            write_hashes("merkle_path", message.merkle_path),
            _NEW_EXTENDED_MINING_JOB_2.pack(len(message.coinbase_tx_prefix)),
            message.coinbase_tx_prefix,
            _NEW_EXTENDED_MINING_JOB_3.pack(len(message.coinbase_tx_suffix)),
            message.coinbase_tx_suffix,
        )
    )


def decode_new_extended_mining_job(data: bytes) -> tuple[NewExtendedMiningJob, int]:
    """NewExtendedMiningJob, and the offset of what follows it."""
    channel_id, job_id, n_min_ntime = _NEW_EXTENDED_MINING_JOB_0.unpack_from(data)
    min_ntime, at = read_option(data, 9, n_min_ntime)
    version, version_rolling_allowed, n_merkle_path = _NEW_EXTENDED_MINING_JOB_1.unpack_from(data, at)
    merkle_path, at = read_hashes(data, at + 6, n_merkle_path)
    (n_coinbase_tx_prefix,) = _NEW_EXTENDED_MINING_JOB_2.unpack_from(data, at)
    start = at + 2
    at = start + n_coinbase_tx_prefix
    coinbase_tx_prefix = data[start:at]
    (n_coinbase_tx_suffix,) = _NEW_EXTENDED_MINING_JOB_3.unpack_from(data, at)
    start = at + 2
    at = start + n_coinbase_tx_suffix
    coinbase_tx_suffix = data[start:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return NewExtendedMiningJob(
        channel_id,
        job_id,
        min_ntime,
        version,
        version_rolling_allowed & 1 == 1,
        merkle_path,
        coinbase_tx_prefix,
        coinbase_tx_suffix,
    ), at


def encode_set_new_prev_hash(message: SetNewPrevHash) -> bytes:
    """The payload of SetNewPrevHash."""
    if len(message.prev_hash) != 32:
        raise ValueError("prev_hash: not 32 bytes")
    return _SET_NEW_PREV_HASH_0.pack(message.channel_id, message.job_id, message.prev_hash, message.min_ntime, message.nbits)


def decode_set_new_prev_hash(data: bytes) -> tuple[SetNewPrevHash, int]:
    """SetNewPrevHash, and the offset of what follows it."""
    return SetNewPrevHash(*_SET_NEW_PREV_HASH_0.unpack_from(data)), 48


def encode_set_target(message: SetTarget) -> bytes:
    """The payload of SetTarget."""
    return _SET_TARGET_0.pack(message.channel_id, message.maximum_target.to_bytes(32, "little"))


def decode_set_target(data: bytes) -> tuple[SetTarget, int]:
    """SetTarget, and the offset of what follows it."""
    channel_id, maximum_target = _SET_TARGET_0.unpack_from(data)
    return SetTarget(channel_id, int.from_bytes(maximum_target, "little")), 36


def encode_set_custom_mining_job(message: SetCustomMiningJob) -> bytes:
    """The payload of SetCustomMiningJob."""
    if len(message.prev_hash) != 32:
        raise ValueError("prev_hash: not 32 bytes")
    return b"".join(
        (
            _SET_CUSTOM_MINING_JOB_0.pack(message.channel_id, message.request_id, len(message.mining_job_token)),
            message.mining_job_token,
            _SET_CUSTOM_MINING_JOB_1.pack(
                message.version,
                message.prev_hash,
                message.min_ntime,
                message.nbits,
                message.coinbase_tx_version,
                len(message.coinbase_prefix),
            ),
            message.coinbase_prefix,
            _SET_CUSTOM_MINING_JOB_2.pack(message.coinbase_tx_input_n_sequence, len(message.coinbase_tx_outputs)),
            message.coinbase_tx_outputs,
            _SET_CUSTOM_MINING_JOB_3.pack(message.coinbase_tx_locktime, len(message.merkle_path)),
            write_hashes("merkle_path", message.merkle_path),
        )
    )


def decode_set_custom_mining_job(data: bytes) -> tuple[SetCustomMiningJob, int]:
    """SetCustomMiningJob, and the offset of what follows it."""
    channel_id, request_id, n_mining_job_token = _SET_CUSTOM_MINING_JOB_0.unpack_from(data)
    at = 9 + n_mining_job_token
    mining_job_token = data[9:at]
    version, prev_hash, min_ntime, nbits, coinbase_tx_version, n_coinbase_prefix = _SET_CUSTOM_MINING_JOB_1.unpack_from(data, at)
    start = at + 49
    at = start + n_coinbase_prefix
    coinbase_prefix = data[start:at]
    coinbase_tx_input_n_sequence, n_coinbase_tx_outputs = _SET_CUSTOM_MINING_JOB_2.unpack_from(data, at)
    start = at + 6
    at = start + n_coinbase_tx_outputs
    coinbase_tx_outputs = data[start:at]
    coinbase_tx_locktime, n_merkle_path = _SET_CUSTOM_MINING_JOB_3.unpack_from(data, at)
    merkle_path, at = read_hashes(data, at + 5, n_merkle_path)
    return SetCustomMiningJob(
        channel_id,
        request_id,
        mining_job_token,
        version,
        prev_hash,
        min_ntime,
        nbits,
        coinbase_tx_version,
        coinbase_prefix,
        coinbase_tx_input_n_sequence,
        coinbase_tx_outputs,
        coinbase_tx_locktime,
        merkle_path,
    ), at


def encode_set_custom_mining_job_success(message: SetCustomMiningJobSuccess) -> bytes:
    """The payload of SetCustomMiningJob.Success."""
    return _SET_CUSTOM_MINING_JOB_SUCCESS_0.pack(message.channel_id, message.request_id, message.job_id)


def decode_set_custom_mining_job_success(data: bytes) -> tuple[SetCustomMiningJobSuccess, int]:
    """SetCustomMiningJob.Success, and the offset of what follows it."""
    return SetCustomMiningJobSuccess(*_SET_CUSTOM_MINING_JOB_SUCCESS_0.unpack_from(data)), 12


def encode_set_custom_mining_job_error(message: SetCustomMiningJobError) -> bytes:
    """The payload of SetCustomMiningJob.Error."""
    return _SET_CUSTOM_MINING_JOB_ERROR_0.pack(message.channel_id, message.request_id, len(message.error_code)) + check_code(
        "error_code", message.error_code
    )


def decode_set_custom_mining_job_error(data: bytes) -> tuple[SetCustomMiningJobError, int]:
    """SetCustomMiningJob.Error, and the offset of what follows it."""
    channel_id, request_id, n_error_code = _SET_CUSTOM_MINING_JOB_ERROR_0.unpack_from(data)
    at = 9 + n_error_code
    error_code = data[9:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return SetCustomMiningJobError(channel_id, request_id, error_code), at


def encode_set_group_channel(message: SetGroupChannel) -> bytes:
    """The payload of SetGroupChannel."""
    return _SET_GROUP_CHANNEL_0.pack(message.group_channel_id, len(message.channel_ids)) + write_ints(message.channel_ids, "I")


def decode_set_group_channel(data: bytes) -> tuple[SetGroupChannel, int]:
    """SetGroupChannel, and the offset of what follows it."""
    group_channel_id, n_channel_ids = _SET_GROUP_CHANNEL_0.unpack_from(data)
    channel_ids, at = read_ints(data, 6, n_channel_ids, "I")
    return SetGroupChannel(group_channel_id, channel_ids), at


CODECS = (
    codec(OpenStandardMiningChannel, encode_open_standard_mining_channel, decode_open_standard_mining_channel),
    codec(
        OpenStandardMiningChannelSuccess, encode_open_standard_mining_channel_success, decode_open_standard_mining_channel_success
    ),
    codec(OpenMiningChannelError, encode_open_mining_channel_error, decode_open_mining_channel_error),
    codec(OpenExtendedMiningChannel, encode_open_extended_mining_channel, decode_open_extended_mining_channel),
    codec(
        OpenExtendedMiningChannelSuccess, encode_open_extended_mining_channel_success, decode_open_extended_mining_channel_success
    ),
    codec(NewMiningJob, encode_new_mining_job, decode_new_mining_job),
    codec(UpdateChannel, encode_update_channel, decode_update_channel),
    codec(UpdateChannelError, encode_update_channel_error, decode_update_channel_error),
    codec(CloseChannel, encode_close_channel, decode_close_channel),
    codec(SetExtranoncePrefix, encode_set_extranonce_prefix, decode_set_extranonce_prefix),
    codec(SubmitSharesStandard, encode_submit_shares_standard, decode_submit_shares_standard),
    codec(SubmitSharesExtended, encode_submit_shares_extended, decode_submit_shares_extended),
    codec(SubmitSharesSuccess, encode_submit_shares_success, decode_submit_shares_success),
    codec(SubmitSharesError, encode_submit_shares_error, decode_submit_shares_error),
    codec(NewExtendedMiningJob, encode_new_extended_mining_job, decode_new_extended_mining_job),
    codec(SetNewPrevHash, encode_set_new_prev_hash, decode_set_new_prev_hash),
    codec(SetTarget, encode_set_target, decode_set_target),
    codec(SetCustomMiningJob, encode_set_custom_mining_job, decode_set_custom_mining_job),
    codec(SetCustomMiningJobSuccess, encode_set_custom_mining_job_success, decode_set_custom_mining_job_success),
    codec(SetCustomMiningJobError, encode_set_custom_mining_job_error, decode_set_custom_mining_job_error),
    codec(SetGroupChannel, encode_set_group_channel, decode_set_group_channel),
)
