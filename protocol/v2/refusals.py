"""What a server tells a client that asked for what cannot be, so that the client may go on.

It does NOT decide what is refused, with one exception: a hashrate that is no number is found here, because decoding its message
would end the connection, and a wrong number deserves an answer.
"""

import struct
from typing import Final

from protocol.errors import RemoteProtocolError
from protocol.v2 import error_codes
from protocol.v2.codec import encode_frame
from protocol.v2.messages import common, mining
from protocol.v2.server_events import Refused
from protocol.v2.types import is_hash_rate

_U32: Final = struct.Struct("<I")
_F32: Final = struct.Struct("<f")


def refused_setup(flags: int, code: bytes) -> RemoteProtocolError:
    """To raise: a connection that is not accepted ends. flags: those that are not supported."""
    error = common.SetupConnectionError(flags=flags, error_code=code)
    return RemoteProtocolError(f"SetupConnection: {code.decode()}", encode_frame(error))


def refused_channel(request_id: int, code: bytes) -> Refused:
    """No channel for this request."""
    return Refused(encode_frame(mining.OpenMiningChannelError(request_id=request_id, error_code=code)), code)


def refused_update(channel_id: int, code: bytes, *, is_open: bool = True) -> Refused:
    """The channel stays as it is. is_open: whether there is one of this id."""
    error = mining.UpdateChannelError(channel_id=channel_id, error_code=code)
    return Refused(encode_frame(error), code, channel_id if is_open else None)


def refused_share(
    share: mining.SubmitSharesStandard | mining.SubmitSharesExtended, code: bytes, *, is_open: bool = True
) -> Refused:
    """One share that is not taken. is_open: whether its channel is."""
    error = mining.SubmitSharesError(channel_id=share.channel_id, sequence_number=share.sequence_number, error_code=code)
    return Refused(encode_frame(error), code, share.channel_id if is_open else None, is_share=True)


def wrong_rate_in_open(payload: bytes) -> Refused | None:
    """The answer to a request for a channel whose hashrate is no number; None: it is one."""
    # request_id, then the identity after its length.
    if len(payload) > _U32.size and _is_no_hash_rate(payload, _U32.size + 1 + payload[_U32.size]):
        return refused_channel(first_id(payload), error_codes.INVALID_NOMINAL_HASHRATE)
    return None


def is_wrong_rate_in_update(payload: bytes) -> bool:
    """Whether the hashrate of an UpdateChannel, which follows its channel id, is no number."""
    return _is_no_hash_rate(payload, _U32.size)


def first_id(payload: bytes) -> int:
    """The id that the message begins with. Raises RemoteProtocolError when it is too short."""
    if len(payload) < _U32.size:
        raise RemoteProtocolError("a channel message without a channel id")
    first: int = _U32.unpack_from(payload)[0]
    return first


def _is_no_hash_rate(payload: bytes, at: int) -> bool:
    return len(payload) >= at + _F32.size and not is_hash_rate(_F32.unpack_from(payload, at)[0])
