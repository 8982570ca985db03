"""Messages of the job declaration protocol (specification 6.4)."""

from protocol.v2.messages.base import Message


class AllocateMiningJobToken(Message, frozen=True, gc=False):
    """Asks for a token, with which a job may be declared."""

    user_identifier: bytes
    request_id: int


class AllocateMiningJobTokenSuccess(Message, frozen=True, gc=False):
    """The token, and the outputs that its coinbase must have."""

    request_id: int
    mining_job_token: bytes
    coinbase_tx_outputs: bytes


class ProvideMissingTransactions(Message, frozen=True, gc=False):
    """The server does not know these positions of a declared job's transactions."""

    request_id: int
    unknown_tx_position_list: tuple[int, ...]


class ProvideMissingTransactionsSuccess(Message, frozen=True, gc=False):
    """The transactions asked for, in the order asked."""

    request_id: int
    transaction_list: tuple[bytes, ...]


class DeclareMiningJob(Message, frozen=True, gc=False):
    """A job of our own. The coinbase parts keep their BIP 141 fields; the coinbase is not in `wtxid_list`."""

    request_id: int
    mining_job_token: bytes
    version: int
    coinbase_tx_prefix: bytes
    coinbase_tx_suffix: bytes
    wtxid_list: tuple[bytes, ...]
    excess_data: bytes


class DeclareMiningJobSuccess(Message, frozen=True, gc=False):
    """The job is taken, under a new token."""

    request_id: int
    new_mining_job_token: bytes


class DeclareMiningJobError(Message, frozen=True, gc=False):
    """The job is refused; error_details are any bytes."""

    request_id: int
    error_code: bytes
    error_details: bytes


class PushSolution(Message, frozen=True, gc=False):
    """A block was found on a declared job."""

    extranonce: bytes
    prev_hash: bytes
    nonce: int
    ntime: int
    nbits: int
    version: int
