"""Rules about a [[pools]] table whose url means Stratum V2: who the pool must prove to be, and what is asked of it.

Pure, like `rules`, of which this is a part.
"""

from protocol.v2.constants import EXTENSION_NEGOTIATION, EXTENSION_WORKER_TRACKING
from protocol.v2.keys import parse_pool_url
from proxy.checks.report import Report
from proxy.config import Pool

_KNOWN_EXTENSIONS = (EXTENSION_NEGOTIATION, EXTENSION_WORKER_TRACKING)


def check_v2_pool(pool: Pool, path: str, report: Report) -> None:
    """Mistakes and warnings end in `report`; `path` is the table's."""
    _url(pool, path, report)
    for index, extension in enumerate(pool.request_extensions):
        if extension not in _KNOWN_EXTENSIONS:
            report.mistake(f"{path}.request_extensions[{index}]", f"{extension} is not known here; allowed: 1, 2")
    if EXTENSION_WORKER_TRACKING in pool.request_extensions and EXTENSION_NEGOTIATION not in pool.request_extensions:
        report.mistake(f"{path}.request_extensions", "2 can only be had by negotiation: add 1")
    if pool.certificate_versions != [0]:
        report.warn(
            f"{path}.certificate_versions",
            "the specification knows version 0 alone: take others only from a pool that is known to sign so",
        )
    if pool.suggest_difficulty is not None:
        report.warn(f"{path}.suggest_difficulty", "has no effect: a Stratum V2 pool is told the hashrate, and the easiest target")


def _url(pool: Pool, path: str, report: Report) -> None:
    try:
        address = parse_pool_url(pool.url)
    except ValueError as error:
        report.mistake(f"{path}.url", f"{error}; copy it as the pool publishes it")
        return
    if address.authority_key is not None:
        if pool.allow_unauthenticated:
            report.warn(f"{path}.allow_unauthenticated", "has no effect: the key in the url is always checked")
    elif pool.allow_unauthenticated:
        report.warn(
            f"{path}.allow_unauthenticated", "anybody on the way can be this pool and take the work; add its key to the url"
        )
    else:
        report.mistake(
            f"{path}.url",
            "has no authority key, so anybody could be the pool: add /KEY as the pool publishes it, or set allow_unauthenticated",
        )
