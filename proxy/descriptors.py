"""File descriptors: as many as a site needs, and admission of miners below what the machine gives.

Every miner and every pool connection is one. What is kept back is for the ledger, the API, and for asking and commanding the units,
which must work also while the hall is full.
"""

import resource

from proxy.config import SiteConfig

# Beside miners and units: ledger, API and its readers, pools, standard streams.
RESERVED = 256
# Connections to units' APIs: at most one a unit, and what the fleet's lanes let through at once.
UNITS_IN_FLIGHT = 1_152


def admit_at_most(config: SiteConfig) -> int:
    """Raise this process's limit towards what the site needs, and say how many miners may be connected at once."""
    wanted = descriptors_needed(config)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return config.listen.max_connections
    # Where even the reserve does not fit, half of it all is better than a site that can do nothing else.
    others = wanted - config.listen.max_connections
    return min(config.listen.max_connections, max(soft - others, soft // 2))


def descriptors_needed(config: SiteConfig) -> int:
    """How many this site uses when every place for a miner is taken."""
    sessions = sum(len(config.units) if pool.mode == "per_unit" else 8 for pool in config.pools)
    return config.listen.max_connections + sessions + min(len(config.units), UNITS_IN_FLIGHT) + RESERVED
