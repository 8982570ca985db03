"""Messages of the template distribution protocol (specification 7).

The specification has a second SetNewPrevHash here; its class is TemplateSetNewPrevHash, so that no reader takes one for the other.
"""

from protocol.v2.messages.base import Message


class CoinbaseOutputConstraints(Message, frozen=True, gc=False):
    """The room that outputs we add will need, in bytes and signature operations."""

    coinbase_output_max_additional_size: int
    coinbase_output_max_additional_sigops: int


class NewTemplate(Message, frozen=True, gc=False):
    """A block template. coinbase_tx_outputs holds `coinbase_tx_outputs_count` serialised outputs, without a count of their own."""

    template_id: int
    future_template: bool
    version: int
    coinbase_tx_version: int
    coinbase_prefix: bytes
    coinbase_tx_input_sequence: int
    coinbase_tx_value_remaining: int
    coinbase_tx_outputs_count: int
    coinbase_tx_outputs: bytes
    coinbase_tx_locktime: int
    merkle_path: tuple[bytes, ...]


class TemplateSetNewPrevHash(Message, frozen=True, gc=False):
    """A new chain tip, and the future template to use with it. target is the network's, header_timestamp where to start."""

    template_id: int
    prev_hash: bytes
    header_timestamp: int
    n_bits: int
    target: int


class RequestTransactionData(Message, frozen=True, gc=False):
    """Asks for the transactions of a template."""

    template_id: int


class RequestTransactionDataSuccess(Message, frozen=True, gc=False):
    """The transactions of a template, without the coinbase."""

    template_id: int
    excess_data: bytes
    transaction_list: tuple[bytes, ...]


class RequestTransactionDataError(Message, frozen=True, gc=False):
    """The transactions cannot be had."""

    template_id: int
    error_code: bytes


class SubmitSolution(Message, frozen=True, gc=False):
    """A block was found. coinbase_tx keeps its BIP 141 fields."""

    template_id: int
    version: int
    header_timestamp: int
    header_nonce: int
    coinbase_tx: bytes
