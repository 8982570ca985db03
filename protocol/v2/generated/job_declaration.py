"""Codecs of the job declaration messages, made by protocol/v2/codegen.py from protocol/v2/layouts.py. Not to be edited.

Call them through protocol/v2/codec.py, which knows what their exceptions mean.
"""

from struct import Struct

from protocol.v2.messages.job_declaration import (
    AllocateMiningJobToken,
    AllocateMiningJobTokenSuccess,
    DeclareMiningJob,
    DeclareMiningJobError,
    DeclareMiningJobSuccess,
    ProvideMissingTransactions,
    ProvideMissingTransactionsSuccess,
    PushSolution,
)
from protocol.v2.primitives import (
    TRUNCATED,
    check_code,
    codec,
    read_blobs,
    read_hashes,
    read_ints,
    write_blobs,
    write_hashes,
    write_ints,
)

_ALLOCATE_MINING_JOB_TOKEN_0 = Struct("<B")
_ALLOCATE_MINING_JOB_TOKEN_1 = Struct("<I")
_ALLOCATE_MINING_JOB_TOKEN_SUCCESS_0 = Struct("<IB")
_ALLOCATE_MINING_JOB_TOKEN_SUCCESS_1 = Struct("<H")
_PROVIDE_MISSING_TRANSACTIONS_0 = Struct("<IH")
_PROVIDE_MISSING_TRANSACTIONS_SUCCESS_0 = Struct("<IH")
_DECLARE_MINING_JOB_0 = Struct("<IB")
_DECLARE_MINING_JOB_1 = Struct("<IH")
_DECLARE_MINING_JOB_2 = Struct("<H")
_DECLARE_MINING_JOB_3 = Struct("<H")
_DECLARE_MINING_JOB_4 = Struct("<H")
_DECLARE_MINING_JOB_SUCCESS_0 = Struct("<IB")
_DECLARE_MINING_JOB_ERROR_0 = Struct("<IB")
_DECLARE_MINING_JOB_ERROR_1 = Struct("<H")
_PUSH_SOLUTION_0 = Struct("<B")
_PUSH_SOLUTION_1 = Struct("<32s4I")


def encode_allocate_mining_job_token(message: AllocateMiningJobToken) -> bytes:
    """The payload of AllocateMiningJobToken."""
    return b"".join(
        (
            _ALLOCATE_MINING_JOB_TOKEN_0.pack(len(message.user_identifier)),
            message.user_identifier,
            _ALLOCATE_MINING_JOB_TOKEN_1.pack(message.request_id),
        )
    )


def decode_allocate_mining_job_token(data: bytes) -> tuple[AllocateMiningJobToken, int]:
    """AllocateMiningJobToken, and the offset of what follows it."""
    (n_user_identifier,) = _ALLOCATE_MINING_JOB_TOKEN_0.unpack_from(data)
    at = 1 + n_user_identifier
    user_identifier = data[1:at]
    (request_id,) = _ALLOCATE_MINING_JOB_TOKEN_1.unpack_from(data, at)
    return AllocateMiningJobToken(user_identifier, request_id), at + 4


def encode_allocate_mining_job_token_success(message: AllocateMiningJobTokenSuccess) -> bytes:
    """The payload of AllocateMiningJobToken.Success."""
    return b"".join(
        (
            _ALLOCATE_MINING_JOB_TOKEN_SUCCESS_0.pack(message.request_id, len(message.mining_job_token)),
            message.mining_job_token,
            _ALLOCATE_MINING_JOB_TOKEN_SUCCESS_1.pack(len(message.coinbase_tx_outputs)),
            message.coinbase_tx_outputs,
        )
    )


def decode_allocate_mining_job_token_success(data: bytes) -> tuple[AllocateMiningJobTokenSuccess, int]:
    """AllocateMiningJobToken.Success, and the offset of what follows it."""
    request_id, n_mining_job_token = _ALLOCATE_MINING_JOB_TOKEN_SUCCESS_0.unpack_from(data)
    at = 5 + n_mining_job_token
    mining_job_token = data[5:at]
    (n_coinbase_tx_outputs,) = _ALLOCATE_MINING_JOB_TOKEN_SUCCESS_1.unpack_from(data, at)
    start = at + 2
    at = start + n_coinbase_tx_outputs
    coinbase_tx_outputs = data[start:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return AllocateMiningJobTokenSuccess(request_id, mining_job_token, coinbase_tx_outputs), at


def encode_provide_missing_transactions(message: ProvideMissingTransactions) -> bytes:
    """The payload of ProvideMissingTransactions."""
    return _PROVIDE_MISSING_TRANSACTIONS_0.pack(message.request_id, len(message.unknown_tx_position_list)) + write_ints(
        message.unknown_tx_position_list, "H"
    )


def decode_provide_missing_transactions(data: bytes) -> tuple[ProvideMissingTransactions, int]:
    """ProvideMissingTransactions, and the offset of what follows it."""
    request_id, n_unknown_tx_position_list = _PROVIDE_MISSING_TRANSACTIONS_0.unpack_from(data)
    unknown_tx_position_list, at = read_ints(data, 6, n_unknown_tx_position_list, "H")
    return ProvideMissingTransactions(request_id, unknown_tx_position_list), at


def encode_provide_missing_transactions_success(message: ProvideMissingTransactionsSuccess) -> bytes:
    """The payload of ProvideMissingTransactions.Success."""
    return _PROVIDE_MISSING_TRANSACTIONS_SUCCESS_0.pack(message.request_id, len(message.transaction_list)) + write_blobs(
        "transaction_list", message.transaction_list
    )


def decode_provide_missing_transactions_success(data: bytes) -> tuple[ProvideMissingTransactionsSuccess, int]:
    """ProvideMissingTransactions.Success, and the offset of what follows it."""
    request_id, n_transaction_list = _PROVIDE_MISSING_TRANSACTIONS_SUCCESS_0.unpack_from(data)
    transaction_list, at = read_blobs(data, 6, n_transaction_list)
    return ProvideMissingTransactionsSuccess(request_id, transaction_list), at


def encode_declare_mining_job(message: DeclareMiningJob) -> bytes:
    """The payload of DeclareMiningJob."""
    return b"".join(
        (
            _DECLARE_MINING_JOB_0.pack(message.request_id, len(message.mining_job_token)),
            message.mining_job_token,
            _DECLARE_MINING_JOB_1.pack(message.version, len(message.coinbase_tx_prefix)),
            message.coinbase_tx_prefix,
            _DECLARE_MINING_JOB_2.pack(len(message.coinbase_tx_suffix)),
            message.coinbase_tx_suffix,
            _DECLARE_MINING_JOB_3.pack(len(message.wtxid_list)),
            write_hashes("wtxid_list", message.wtxid_list),
            _DECLARE_MINING_JOB_4.pack(len(message.excess_data)),
            message.excess_data,
        )
    )


def decode_declare_mining_job(data: bytes) -> tuple[DeclareMiningJob, int]:
    """DeclareMiningJob, and the offset of what follows it."""
    request_id, n_mining_job_token = _DECLARE_MINING_JOB_0.unpack_from(data)
    at = 5 + n_mining_job_token
    mining_job_token = data[5:at]
    version, n_coinbase_tx_prefix = _DECLARE_MINING_JOB_1.unpack_from(data, at)
    start = at + 6
    at = start + n_coinbase_tx_prefix
    coinbase_tx_prefix = data[start:at]
    (n_coinbase_tx_suffix,) = _DECLARE_MINING_JOB_2.unpack_from(data, at)
    start = at + 2
    at = start + n_coinbase_tx_suffix
    coinbase_tx_suffix = data[start:at]
    (n_wtxid_list,) = _DECLARE_MINING_JOB_3.unpack_from(data, at)
    wtxid_list, at = read_hashes(data, at + 2, n_wtxid_list)
    (n_excess_data,) = _DECLARE_MINING_JOB_4.unpack_from(data, at)
    start = at + 2
    at = start + n_excess_data
    excess_data = data[start:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return DeclareMiningJob(
        request_id, mining_job_token, version, coinbase_tx_prefix, coinbase_tx_suffix, wtxid_list, excess_data
    ), at


def encode_declare_mining_job_success(message: DeclareMiningJobSuccess) -> bytes:
    """The payload of DeclareMiningJob.Success."""
    return _DECLARE_MINING_JOB_SUCCESS_0.pack(message.request_id, len(message.new_mining_job_token)) + message.new_mining_job_token


def decode_declare_mining_job_success(data: bytes) -> tuple[DeclareMiningJobSuccess, int]:
    """DeclareMiningJob.Success, and the offset of what follows it."""
    request_id, n_new_mining_job_token = _DECLARE_MINING_JOB_SUCCESS_0.unpack_from(data)
    at = 5 + n_new_mining_job_token
    new_mining_job_token = data[5:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return DeclareMiningJobSuccess(request_id, new_mining_job_token), at


def encode_declare_mining_job_error(message: DeclareMiningJobError) -> bytes:
    """The payload of DeclareMiningJob.Error."""
    return b"".join(
        (
            _DECLARE_MINING_JOB_ERROR_0.pack(message.request_id, len(message.error_code)),
            check_code("error_code", message.error_code),
            _DECLARE_MINING_JOB_ERROR_1.pack(len(message.error_details)),
            message.error_details,
        )
    )


def decode_declare_mining_job_error(data: bytes) -> tuple[DeclareMiningJobError, int]:
    """DeclareMiningJob.Error, and the offset of what follows it."""
    request_id, n_error_code = _DECLARE_MINING_JOB_ERROR_0.unpack_from(data)
    at = 5 + n_error_code
    error_code = data[5:at]
    (n_error_details,) = _DECLARE_MINING_JOB_ERROR_1.unpack_from(data, at)
    start = at + 2
    at = start + n_error_details
    error_details = data[start:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return DeclareMiningJobError(request_id, error_code, error_details), at


def encode_push_solution(message: PushSolution) -> bytes:
    """The payload of PushSolution."""
    if len(message.extranonce) > 32:
        raise ValueError("extranonce: more than 32 bytes")
    if len(message.prev_hash) != 32:
        raise ValueError("prev_hash: not 32 bytes")
    return b"".join(
        (
            _PUSH_SOLUTION_0.pack(len(message.extranonce)),
            message.extranonce,
            _PUSH_SOLUTION_1.pack(message.prev_hash, message.nonce, message.ntime, message.nbits, message.version),
        )
    )


def decode_push_solution(data: bytes) -> tuple[PushSolution, int]:
    """PushSolution, and the offset of what follows it."""
    (n_extranonce,) = _PUSH_SOLUTION_0.unpack_from(data)
    if n_extranonce > 32:
        raise ValueError("extranonce: more than 32 bytes")
    at = 1 + n_extranonce
    extranonce = data[1:at]
    prev_hash, nonce, ntime, nbits, version = _PUSH_SOLUTION_1.unpack_from(data, at)
    return PushSolution(extranonce, prev_hash, nonce, ntime, nbits, version), at + 48


CODECS = (
    codec(AllocateMiningJobToken, encode_allocate_mining_job_token, decode_allocate_mining_job_token),
    codec(AllocateMiningJobTokenSuccess, encode_allocate_mining_job_token_success, decode_allocate_mining_job_token_success),
    codec(ProvideMissingTransactions, encode_provide_missing_transactions, decode_provide_missing_transactions),
    codec(
        ProvideMissingTransactionsSuccess, encode_provide_missing_transactions_success, decode_provide_missing_transactions_success
    ),
    codec(DeclareMiningJob, encode_declare_mining_job, decode_declare_mining_job),
    codec(DeclareMiningJobSuccess, encode_declare_mining_job_success, decode_declare_mining_job_success),
    codec(DeclareMiningJobError, encode_declare_mining_job_error, decode_declare_mining_job_error),
    codec(PushSolution, encode_push_solution, decode_push_solution),
)
