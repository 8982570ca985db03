"""THE declaration of Stratum V2: every message once, with its number, channel bit, direction and fields.

Everything else follows from it: the construct Structs that are the oracle of the tests, and the codecs in protocol/v2/generated
(after a change: `python docs/tools/sv2_codecs.py`). It does NOT encode or decode. Numbers and bits are those of chapter 8.
"""

import enum
import re

import msgspec

from protocol.v2.constants import EXTENSION_CORE, EXTENSION_NEGOTIATION
from protocol.v2.header import CHANNEL_BIT
from protocol.v2.messages import common, extensions, job_declaration, mining, template_distribution
from protocol.v2.messages.base import Message
from protocol.v2.types import (
    B0_32,
    B0_64K,
    B0_255,
    BOOL,
    CODE,
    F32,
    HASH,
    OPTION_U32,
    SEQ0_64K_BLOB,
    SEQ0_64K_HASH,
    SEQ0_64K_U16,
    SEQ0_64K_U32,
    SEQ0_255_HASH,
    STR0_255,
    TARGET,
    U8,
    U16,
    U32,
    U64,
    Construct,
    WireType,
    struct_of,
)


class Direction(enum.Enum):
    """Who sends it."""

    TO_SERVER = "C>S"
    TO_CLIENT = "S>C"
    BOTH = "both"


class Subprotocol(enum.Enum):
    """Where a message belongs; the value is the name of its module in messages/ and generated/."""

    COMMON = "common"
    MINING = "mining"
    JOB_DECLARATION = "job_declaration"
    TEMPLATE_DISTRIBUTION = "template_distribution"
    EXTENSIONS = "extensions"


class Layout(msgspec.Struct, frozen=True):
    """One message on the wire. `fields` are in the order of the wire and of the class."""

    message_class: type[Message]
    subprotocol: Subprotocol
    extension_type: int
    message_type: int
    is_channel: bool
    direction: Direction
    fields: tuple[tuple[str, WireType], ...]

    @property
    def name(self) -> str:
        """The specification's name, with its dot."""
        return re.sub(r"(Success|Error)$", r".\1", self.message_class.__name__)

    @property
    def wire_extension_type(self) -> int:
        """What we send in the header: the extension type with the channel bit."""
        return self.extension_type | CHANNEL_BIT if self.is_channel else self.extension_type

    @property
    def min_size(self) -> int:
        """The shortest payload, in bytes."""
        return sum(wire_type.min_size for _, wire_type in self.fields)

    @property
    def max_size(self) -> int:
        """The longest payload that the fields can make, in bytes; TLVs not counted. May be more than a frame can hold."""
        return sum(wire_type.max_size for _, wire_type in self.fields)

    @property
    def construct(self) -> Construct:
        """The construct Struct of the payload, made anew; it takes and gives mappings of field names."""
        return struct_of(self.fields)


C, S, BOTH = Direction.TO_SERVER, Direction.TO_CLIENT, Direction.BOTH


def _core(number: int, sender: Direction, message_class: type[Message], /, **fields: WireType) -> Layout:
    """A core message for the connection's endpoint. Its subprotocol follows from its number (chapter 8)."""
    bounds = ((0x10, Subprotocol.COMMON), (0x50, Subprotocol.MINING), (0x70, Subprotocol.JOB_DECLARATION))
    subprotocol = next((where for bound, where in bounds if number < bound), Subprotocol.TEMPLATE_DISTRIBUTION)
    return Layout(message_class, subprotocol, EXTENSION_CORE, number, False, sender, tuple(fields.items()))


def _channel(number: int, sender: Direction, message_class: type[Message], /, **fields: WireType) -> Layout:
    """A core message for a channel's endpoint: the channel bit is set."""
    return msgspec.structs.replace(_core(number, sender, message_class, channel_id=U32, **fields), is_channel=True)


def _negotiation(number: int, sender: Direction, message_class: type[Message], /, **fields: WireType) -> Layout:
    """A message of extension 0x0001."""
    return Layout(message_class, Subprotocol.EXTENSIONS, EXTENSION_NEGOTIATION, number, False, sender, tuple(fields.items()))


LAYOUTS: tuple[Layout, ...] = (
    _core(
        0x00,
        C,
        common.SetupConnection,
        protocol=U8,
        min_version=U16,
        max_version=U16,
        flags=U32,
        endpoint_host=STR0_255,
        endpoint_port=U16,
        vendor=STR0_255,
        hardware_version=STR0_255,
        firmware=STR0_255,
        device_id=STR0_255,
    ),
    _core(0x01, S, common.SetupConnectionSuccess, used_version=U16, flags=U32),
    _core(0x02, S, common.SetupConnectionError, flags=U32, error_code=CODE),
    _channel(0x03, S, common.ChannelEndpointChanged),
    _core(0x04, S, common.Reconnect, new_host=STR0_255, new_port=U16),
    _core(
        0x10,
        C,
        mining.OpenStandardMiningChannel,
        request_id=U32,
        user_identity=STR0_255,
        nominal_hash_rate=F32,
        max_target=TARGET,
    ),
    _core(
        0x11,
        S,
        mining.OpenStandardMiningChannelSuccess,
        request_id=U32,
        channel_id=U32,
        target=TARGET,
        extranonce_prefix=B0_32,
        group_channel_id=U32,
    ),
    _core(0x12, S, mining.OpenMiningChannelError, request_id=U32, error_code=CODE),
    _core(
        0x13,
        C,
        mining.OpenExtendedMiningChannel,
        request_id=U32,
        user_identity=STR0_255,
        nominal_hash_rate=F32,
        max_target=TARGET,
        min_extranonce_size=U16,
    ),
    _core(
        0x14,
        S,
        mining.OpenExtendedMiningChannelSuccess,
        request_id=U32,
        channel_id=U32,
        target=TARGET,
        extranonce_size=U16,
        extranonce_prefix=B0_32,
        group_channel_id=U32,
    ),
    _channel(0x15, S, mining.NewMiningJob, job_id=U32, min_ntime=OPTION_U32, version=U32, merkle_root=HASH),
    _channel(0x16, C, mining.UpdateChannel, nominal_hash_rate=F32, maximum_target=TARGET),
    _channel(0x17, S, mining.UpdateChannelError, error_code=CODE),
    _channel(0x18, BOTH, mining.CloseChannel, reason_code=CODE),
    _channel(0x19, S, mining.SetExtranoncePrefix, extranonce_prefix=B0_32),
    _channel(
        0x1A,
        C,
        mining.SubmitSharesStandard,
        sequence_number=U32,
        job_id=U32,
        nonce=U32,
        ntime=U32,
        version=U32,
    ),
    _channel(
        0x1B,
        C,
        mining.SubmitSharesExtended,
        sequence_number=U32,
        job_id=U32,
        nonce=U32,
        ntime=U32,
        version=U32,
        extranonce=B0_32,
    ),
    _channel(
        0x1C,
        S,
        mining.SubmitSharesSuccess,
        last_sequence_number=U32,
        new_submits_accepted_count=U32,
        new_shares_sum=U64,
    ),
    _channel(0x1D, S, mining.SubmitSharesError, sequence_number=U32, error_code=CODE),
    _channel(
        0x1F,
        S,
        mining.NewExtendedMiningJob,
        job_id=U32,
        min_ntime=OPTION_U32,
        version=U32,
        version_rolling_allowed=BOOL,
        merkle_path=SEQ0_255_HASH,
        coinbase_tx_prefix=B0_64K,
        coinbase_tx_suffix=B0_64K,
    ),
    _channel(0x20, S, mining.SetNewPrevHash, job_id=U32, prev_hash=HASH, min_ntime=U32, nbits=U32),
    _channel(0x21, S, mining.SetTarget, maximum_target=TARGET),
    _channel(
        0x22,
        C,
        mining.SetCustomMiningJob,
        request_id=U32,
        mining_job_token=B0_255,
        version=U32,
        prev_hash=HASH,
        min_ntime=U32,
        nbits=U32,
        coinbase_tx_version=U32,
        coinbase_prefix=B0_255,
        coinbase_tx_input_n_sequence=U32,
        coinbase_tx_outputs=B0_64K,
        coinbase_tx_locktime=U32,
        merkle_path=SEQ0_255_HASH,
    ),
    _channel(0x23, S, mining.SetCustomMiningJobSuccess, request_id=U32, job_id=U32),
    _channel(0x24, S, mining.SetCustomMiningJobError, request_id=U32, error_code=CODE),
    _core(0x25, S, mining.SetGroupChannel, group_channel_id=U32, channel_ids=SEQ0_64K_U32),
    _core(0x50, C, job_declaration.AllocateMiningJobToken, user_identifier=STR0_255, request_id=U32),
    _core(
        0x51,
        S,
        job_declaration.AllocateMiningJobTokenSuccess,
        request_id=U32,
        mining_job_token=B0_255,
        coinbase_tx_outputs=B0_64K,
    ),
    _core(0x55, S, job_declaration.ProvideMissingTransactions, request_id=U32, unknown_tx_position_list=SEQ0_64K_U16),
    _core(0x56, C, job_declaration.ProvideMissingTransactionsSuccess, request_id=U32, transaction_list=SEQ0_64K_BLOB),
    _core(
        0x57,
        C,
        job_declaration.DeclareMiningJob,
        request_id=U32,
        mining_job_token=B0_255,
        version=U32,
        coinbase_tx_prefix=B0_64K,
        coinbase_tx_suffix=B0_64K,
        wtxid_list=SEQ0_64K_HASH,
        excess_data=B0_64K,
    ),
    _core(0x58, S, job_declaration.DeclareMiningJobSuccess, request_id=U32, new_mining_job_token=B0_255),
    _core(0x59, S, job_declaration.DeclareMiningJobError, request_id=U32, error_code=CODE, error_details=B0_64K),
    _core(
        0x60,
        C,
        job_declaration.PushSolution,
        extranonce=B0_32,
        prev_hash=HASH,
        nonce=U32,
        ntime=U32,
        nbits=U32,
        version=U32,
    ),
    _core(
        0x70,
        C,
        template_distribution.CoinbaseOutputConstraints,
        coinbase_output_max_additional_size=U32,
        coinbase_output_max_additional_sigops=U16,
    ),
    _core(
        0x71,
        S,
        template_distribution.NewTemplate,
        template_id=U64,
        future_template=BOOL,
        version=U32,
        coinbase_tx_version=U32,
        coinbase_prefix=B0_255,
        coinbase_tx_input_sequence=U32,
        coinbase_tx_value_remaining=U64,
        coinbase_tx_outputs_count=U32,
        coinbase_tx_outputs=B0_64K,
        coinbase_tx_locktime=U32,
        merkle_path=SEQ0_255_HASH,
    ),
    _core(
        0x72,
        S,
        template_distribution.TemplateSetNewPrevHash,
        template_id=U64,
        prev_hash=HASH,
        header_timestamp=U32,
        n_bits=U32,
        target=TARGET,
    ),
    _core(0x73, C, template_distribution.RequestTransactionData, template_id=U64),
    _core(
        0x74,
        S,
        template_distribution.RequestTransactionDataSuccess,
        template_id=U64,
        excess_data=B0_64K,
        transaction_list=SEQ0_64K_BLOB,
    ),
    _core(0x75, S, template_distribution.RequestTransactionDataError, template_id=U64, error_code=CODE),
    _core(
        0x76,
        C,
        template_distribution.SubmitSolution,
        template_id=U64,
        version=U32,
        header_timestamp=U32,
        header_nonce=U32,
        coinbase_tx=B0_64K,
    ),
    _negotiation(0x00, C, extensions.RequestExtensions, request_id=U16, requested_extensions=SEQ0_64K_U16),
    _negotiation(0x01, S, extensions.RequestExtensionsSuccess, request_id=U16, supported_extensions=SEQ0_64K_U16),
    _negotiation(
        0x02,
        S,
        extensions.RequestExtensionsError,
        request_id=U16,
        unsupported_extensions=SEQ0_64K_U16,
        required_extensions=SEQ0_64K_U16,
    ),
)

LAYOUT_BY_CLASS: dict[type[Message], Layout] = {layout.message_class: layout for layout in LAYOUTS}
LAYOUT_BY_TYPE: dict[tuple[int, int], Layout] = {(layout.extension_type, layout.message_type): layout for layout in LAYOUTS}
