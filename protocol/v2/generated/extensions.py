"""Codecs of the extensions messages, made by protocol/v2/codegen.py from protocol/v2/layouts.py. Not to be edited.

Call them through protocol/v2/codec.py, which knows what their exceptions mean.
"""

from struct import Struct

from protocol.v2.messages.extensions import (
    RequestExtensions,
    RequestExtensionsError,
    RequestExtensionsSuccess,
)
from protocol.v2.primitives import codec, read_ints, write_ints

_REQUEST_EXTENSIONS_0 = Struct("<2H")
_REQUEST_EXTENSIONS_SUCCESS_0 = Struct("<2H")
_REQUEST_EXTENSIONS_ERROR_0 = Struct("<2H")
_REQUEST_EXTENSIONS_ERROR_1 = Struct("<H")


def encode_request_extensions(message: RequestExtensions) -> bytes:
    """The payload of RequestExtensions."""
    return _REQUEST_EXTENSIONS_0.pack(message.request_id, len(message.requested_extensions)) + write_ints(
        message.requested_extensions, "H"
    )


def decode_request_extensions(data: bytes) -> tuple[RequestExtensions, int]:
    """RequestExtensions, and the offset of what follows it."""
    request_id, n_requested_extensions = _REQUEST_EXTENSIONS_0.unpack_from(data)
    requested_extensions, at = read_ints(data, 4, n_requested_extensions, "H")
    return RequestExtensions(request_id, requested_extensions), at


def encode_request_extensions_success(message: RequestExtensionsSuccess) -> bytes:
    """The payload of RequestExtensions.Success."""
    return _REQUEST_EXTENSIONS_SUCCESS_0.pack(message.request_id, len(message.supported_extensions)) + write_ints(
        message.supported_extensions, "H"
    )


def decode_request_extensions_success(data: bytes) -> tuple[RequestExtensionsSuccess, int]:
    """RequestExtensions.Success, and the offset of what follows it."""
    request_id, n_supported_extensions = _REQUEST_EXTENSIONS_SUCCESS_0.unpack_from(data)
    supported_extensions, at = read_ints(data, 4, n_supported_extensions, "H")
    return RequestExtensionsSuccess(request_id, supported_extensions), at


def encode_request_extensions_error(message: RequestExtensionsError) -> bytes:
    """The payload of RequestExtensions.Error."""
    return b"".join(
        (
            _REQUEST_EXTENSIONS_ERROR_0.pack(message.request_id, len(message.unsupported_extensions)),
            write_ints(message.unsupported_extensions, "H"),
            _REQUEST_EXTENSIONS_ERROR_1.pack(len(message.required_extensions)),
            write_ints(message.required_extensions, "H"),
        )
    )


def decode_request_extensions_error(data: bytes) -> tuple[RequestExtensionsError, int]:
    """RequestExtensions.Error, and the offset of what follows it."""
    request_id, n_unsupported_extensions = _REQUEST_EXTENSIONS_ERROR_0.unpack_from(data)
    unsupported_extensions, at = read_ints(data, 4, n_unsupported_extensions, "H")
    (n_required_extensions,) = _REQUEST_EXTENSIONS_ERROR_1.unpack_from(data, at)
    required_extensions, at = read_ints(data, at + 2, n_required_extensions, "H")
    return RequestExtensionsError(request_id, unsupported_extensions, required_extensions), at


CODECS = (
    codec(RequestExtensions, encode_request_extensions, decode_request_extensions),
    codec(RequestExtensionsSuccess, encode_request_extensions_success, decode_request_extensions_success),
    codec(RequestExtensionsError, encode_request_extensions_error, decode_request_extensions_error),
)
