"""Numbers of Stratum V2 that are no layout: protocols, flags, extensions, the version bits that may roll."""

PROTOCOL_MINING = 0
PROTOCOL_JOB_DECLARATION = 1
PROTOCOL_TEMPLATE_DISTRIBUTION = 2
# min_version, max_version and used_version are all this.
VERSION = 2

# SetupConnection.flags of a mining client (5.3.1).
REQUIRES_STANDARD_JOBS = 1 << 0
REQUIRES_WORK_SELECTION = 1 << 1
REQUIRES_VERSION_ROLLING = 1 << 2
# SetupConnection.Success.flags of a mining server.
REQUIRES_FIXED_VERSION = 1 << 0
REQUIRES_EXTENDED_CHANNELS = 1 << 1
# SetupConnection.flags of a job declaration client (6.4.1).
DECLARE_TX_DATA = 1 << 0

EXTENSION_CORE = 0x0000
EXTENSION_NEGOTIATION = 0x0001
EXTENSION_WORKER_TRACKING = 0x0002

# BIP 323: what version_rolling_allowed allows. SV2 cannot carry a narrower mask.
VERSION_MASK_BIP323 = 0x1FFFFFE0
# Prefix and rolled part together: the most that the reference implementation takes.
MAX_EXTRANONCE_BYTES = 32
