"""Error and reason codes as the reference implementation spells them (the specification has no list of its own any more).

Names for what we send, and for logs of what we get. No behaviour hangs on a code: peers spell differently, so fall-back follows the
state, and an unknown code is logged and nothing else (specification 3.5).
"""

# SetupConnection.Error
UNSUPPORTED_FEATURE_FLAGS = b"unsupported-feature-flags"
UNSUPPORTED_PROTOCOL = b"unsupported-protocol"
PROTOCOL_VERSION_MISMATCH = b"protocol-version-mismatch"

# OpenMiningChannel.Error, UpdateChannel.Error
UNKNOWN_USER = b"unknown-user"
INVALID_USER_IDENTITY = b"invalid-user-identity"
INVALID_NOMINAL_HASHRATE = b"invalid-nominal-hashrate"
MAX_TARGET_OUT_OF_RANGE = b"max-target-out-of-range"
MIN_EXTRANONCE_SIZE_TOO_LARGE = b"min-extranonce-size-too-large"
UNSUPPORTED_MIN_EXTRANONCE_SIZE = b"unsupported-min-extranonce-size"
STANDARD_CHANNELS_NOT_SUPPORTED_FOR_CUSTOM_WORK = b"standard-channels-not-supported-for-custom-work"
EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS = b"extended-channels-not-supported-for-standard-jobs"
INVALID_CHANNEL_ID = b"invalid-channel-id"

# SubmitShares.Error
INVALID_SHARE = b"invalid-share"
STALE_SHARE = b"stale-share"
INVALID_JOB_ID = b"invalid-job-id"
DIFFICULTY_TOO_LOW = b"difficulty-too-low"
DUPLICATE_SHARE = b"duplicate-share"
BAD_EXTRANONCE_SIZE = b"bad-extranonce-size"
VERSION_ROLLING_NOT_ALLOWED = b"version-rolling-not-allowed"
INVALID_NON_ROLLABLE_VERSION_BIT = b"invalid-non-rollable-version-bit"

# SetCustomMiningJob.Error, DeclareMiningJob.Error
JD_NOT_SUPPORTED = b"jd-not-supported"
INVALID_MINING_JOB_TOKEN = b"invalid-mining-job-token"
JOB_NOT_YET_VALIDATED = b"job-not-yet-validated"
STALE_CHAIN_TIP = b"stale-chain-tip"
INVALID_MIN_NTIME = b"invalid-min-ntime"
INVALID_NBITS = b"invalid-nbits"
INVALID_VERSION = b"invalid-version"
INVALID_COINBASE_TX = b"invalid-coinbase-tx"
INVALID_COINBASE_TX_VERSION = b"invalid-coinbase-tx-version"
INVALID_COINBASE_TX_PREFIX = b"invalid-coinbase-tx-prefix"
INVALID_COINBASE_TX_INPUT_N_SEQUENCE = b"invalid-coinbase-tx-input-n-sequence"
INVALID_COINBASE_TX_OUTPUTS = b"invalid-coinbase-tx-outputs"
INVALID_COINBASE_TX_LOCKTIME = b"invalid-coinbase-tx-locktime"
INVALID_MERKLE_PATH = b"invalid-merkle-path"
