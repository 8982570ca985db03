"""Codecs of the template distribution messages, made by protocol/v2/codegen.py from protocol/v2/layouts.py. Not to be edited.

Call them through protocol/v2/codec.py, which knows what their exceptions mean.
"""

from struct import Struct

from protocol.v2.messages.template_distribution import (
    CoinbaseOutputConstraints,
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
    SubmitSolution,
    TemplateSetNewPrevHash,
)
from protocol.v2.primitives import TRUNCATED, check_code, codec, read_blobs, read_hashes, write_blobs, write_hashes

_COINBASE_OUTPUT_CONSTRAINTS_0 = Struct("<IH")
_NEW_TEMPLATE_0 = Struct("<QB2IB")
_NEW_TEMPLATE_1 = Struct("<IQIH")
_NEW_TEMPLATE_2 = Struct("<IB")
_TEMPLATE_SET_NEW_PREV_HASH_0 = Struct("<Q32s2I32s")
_REQUEST_TRANSACTION_DATA_0 = Struct("<Q")
_REQUEST_TRANSACTION_DATA_SUCCESS_0 = Struct("<QH")
_REQUEST_TRANSACTION_DATA_SUCCESS_1 = Struct("<H")
_REQUEST_TRANSACTION_DATA_ERROR_0 = Struct("<QB")
_SUBMIT_SOLUTION_0 = Struct("<Q3IH")


def encode_coinbase_output_constraints(message: CoinbaseOutputConstraints) -> bytes:
    """The payload of CoinbaseOutputConstraints."""
    return _COINBASE_OUTPUT_CONSTRAINTS_0.pack(
        message.coinbase_output_max_additional_size, message.coinbase_output_max_additional_sigops
    )


def decode_coinbase_output_constraints(data: bytes) -> tuple[CoinbaseOutputConstraints, int]:
    """CoinbaseOutputConstraints, and the offset of what follows it."""
    return CoinbaseOutputConstraints(*_COINBASE_OUTPUT_CONSTRAINTS_0.unpack_from(data)), 6


def encode_new_template(message: NewTemplate) -> bytes:
    """The payload of NewTemplate."""
    return b"".join(
        (
            _NEW_TEMPLATE_0.pack(
                message.template_id,
                1 if message.future_template else 0,
                message.version,
                message.coinbase_tx_version,
                len(message.coinbase_prefix),
            ),
            message.coinbase_prefix,
            _NEW_TEMPLATE_1.pack(
                message.coinbase_tx_input_sequence,
                message.coinbase_tx_value_remaining,
                message.coinbase_tx_outputs_count,
                len(message.coinbase_tx_outputs),
            ),
            message.coinbase_tx_outputs,
            _NEW_TEMPLATE_2.pack(message.coinbase_tx_locktime, len(message.merkle_path)),
            write_hashes("merkle_path", message.merkle_path),
        )
    )


def decode_new_template(data: bytes) -> tuple[NewTemplate, int]:
    """NewTemplate, and the offset of what follows it."""
    template_id, future_template, version, coinbase_tx_version, n_coinbase_prefix = _NEW_TEMPLATE_0.unpack_from(data)
    at = 18 + n_coinbase_prefix
    coinbase_prefix = data[18:at]
    coinbase_tx_input_sequence, coinbase_tx_value_remaining, coinbase_tx_outputs_count, n_coinbase_tx_outputs = (
        _NEW_TEMPLATE_1.unpack_from(data, at)
    )
    start = at + 18
    at = start + n_coinbase_tx_outputs
    coinbase_tx_outputs = data[start:at]
    coinbase_tx_locktime, n_merkle_path = _NEW_TEMPLATE_2.unpack_from(data, at)
    merkle_path, at = read_hashes(data, at + 5, n_merkle_path)
    return NewTemplate(
        template_id,
        future_template & 1 == 1,
        version,
        coinbase_tx_version,
        coinbase_prefix,
        coinbase_tx_input_sequence,
        coinbase_tx_value_remaining,
        coinbase_tx_outputs_count,
        coinbase_tx_outputs,
        coinbase_tx_locktime,
        merkle_path,
    ), at


def encode_template_set_new_prev_hash(message: TemplateSetNewPrevHash) -> bytes:
    """The payload of TemplateSetNewPrevHash."""
    if len(message.prev_hash) != 32:
        raise ValueError("prev_hash: not 32 bytes")
    return _TEMPLATE_SET_NEW_PREV_HASH_0.pack(
        message.template_id, message.prev_hash, message.header_timestamp, message.n_bits, message.target.to_bytes(32, "little")
    )


def decode_template_set_new_prev_hash(data: bytes) -> tuple[TemplateSetNewPrevHash, int]:
    """TemplateSetNewPrevHash, and the offset of what follows it."""
    template_id, prev_hash, header_timestamp, n_bits, target = _TEMPLATE_SET_NEW_PREV_HASH_0.unpack_from(data)
    return TemplateSetNewPrevHash(template_id, prev_hash, header_timestamp, n_bits, int.from_bytes(target, "little")), 80


def encode_request_transaction_data(message: RequestTransactionData) -> bytes:
    """The payload of RequestTransactionData."""
    return _REQUEST_TRANSACTION_DATA_0.pack(message.template_id)


def decode_request_transaction_data(data: bytes) -> tuple[RequestTransactionData, int]:
    """RequestTransactionData, and the offset of what follows it."""
    return RequestTransactionData(*_REQUEST_TRANSACTION_DATA_0.unpack_from(data)), 8


def encode_request_transaction_data_success(message: RequestTransactionDataSuccess) -> bytes:
    """The payload of RequestTransactionData.Success."""
    return b"".join(
        (
            _REQUEST_TRANSACTION_DATA_SUCCESS_0.pack(message.template_id, len(message.excess_data)),
            message.excess_data,
            _REQUEST_TRANSACTION_DATA_SUCCESS_1.pack(len(message.transaction_list)),
            write_blobs("transaction_list", message.transaction_list),
        )
    )


def decode_request_transaction_data_success(data: bytes) -> tuple[RequestTransactionDataSuccess, int]:
    """RequestTransactionData.Success, and the offset of what follows it."""
    template_id, n_excess_data = _REQUEST_TRANSACTION_DATA_SUCCESS_0.unpack_from(data)
    at = 10 + n_excess_data
    excess_data = data[10:at]
    (n_transaction_list,) = _REQUEST_TRANSACTION_DATA_SUCCESS_1.unpack_from(data, at)
    transaction_list, at = read_blobs(data, at + 2, n_transaction_list)
    return RequestTransactionDataSuccess(template_id, excess_data, transaction_list), at


def encode_request_transaction_data_error(message: RequestTransactionDataError) -> bytes:
    """The payload of RequestTransactionData.Error."""
    return _REQUEST_TRANSACTION_DATA_ERROR_0.pack(message.template_id, len(message.error_code)) + check_code(
        "error_code", message.error_code
    )


def decode_request_transaction_data_error(data: bytes) -> tuple[RequestTransactionDataError, int]:
    """RequestTransactionData.Error, and the offset of what follows it."""
    template_id, n_error_code = _REQUEST_TRANSACTION_DATA_ERROR_0.unpack_from(data)
    at = 9 + n_error_code
    error_code = data[9:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return RequestTransactionDataError(template_id, error_code), at


def encode_submit_solution(message: SubmitSolution) -> bytes:
    """The payload of SubmitSolution."""
    return (
        _SUBMIT_SOLUTION_0.pack(
            message.template_id, message.version, message.header_timestamp, message.header_nonce, len(message.coinbase_tx)
        )
        + message.coinbase_tx
    )


def decode_submit_solution(data: bytes) -> tuple[SubmitSolution, int]:
    """SubmitSolution, and the offset of what follows it."""
    template_id, version, header_timestamp, header_nonce, n_coinbase_tx = _SUBMIT_SOLUTION_0.unpack_from(data)
    at = 22 + n_coinbase_tx
    coinbase_tx = data[22:at]
    if at > len(data):
        raise ValueError(TRUNCATED)
    return SubmitSolution(template_id, version, header_timestamp, header_nonce, coinbase_tx), at


CODECS = (
    codec(CoinbaseOutputConstraints, encode_coinbase_output_constraints, decode_coinbase_output_constraints),
    codec(NewTemplate, encode_new_template, decode_new_template),
    codec(TemplateSetNewPrevHash, encode_template_set_new_prev_hash, decode_template_set_new_prev_hash),
    codec(RequestTransactionData, encode_request_transaction_data, decode_request_transaction_data),
    codec(RequestTransactionDataSuccess, encode_request_transaction_data_success, decode_request_transaction_data_success),
    codec(RequestTransactionDataError, encode_request_transaction_data_error, decode_request_transaction_data_error),
    codec(SubmitSolution, encode_submit_solution, decode_submit_solution),
)
