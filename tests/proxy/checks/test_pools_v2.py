"""What a site file may say of a Stratum V2 pool, and what it is told otherwise."""

from pathlib import Path

import pytest

from protocol.v2.keys import encode_authority_key
from proxy.checks.load import load_site
from tests.support.noise_pair import AUTHORITY
from tests.support.site_checks import told_of
from tests.support.site_file import write_site

KEY = encode_authority_key(AUTHORITY.public_x)
URL = f"stratum2+tcp://pool.example:3336/{KEY}"


def told(tmp_path: Path, **keys: object) -> tuple[list[str], list[str]]:
    """(mistakes, warnings about the pool) of a site with this pool."""
    return told_of(write_site(tmp_path / "site.toml", [{"name": "p", "url": URL, "user": "account", **keys}]), "pools[0]")


def test_a_pool_with_its_key_needs_nothing_else(tmp_path: Path) -> None:
    assert told(tmp_path) == ([], [])
    pool = load_site(tmp_path / "site.toml").config.pools[0]
    assert (pool.allow_unauthenticated, pool.certificate_versions, pool.request_extensions) == (False, [0], [1, 2])


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"url": "stratum2+tcp://pool.example:3336"}, "no authority key"),
        ({"url": f"stratum2+tcp://pool.example:3336/{KEY[:-1]}x"}, "authority key:"),
        ({"url": f"stratum2+tcp://pool.example:99999/{KEY}"}, "1 to 65535"),
        ({"url": f"stratum2+ssl://pool.example:3336/{KEY}"}, "stratum2+tcp://host:port/KEY"),
        ({"request_extensions": [2]}, "add 1"),
        ({"request_extensions": [1, 7]}, "7 is not known"),
        ({"certificate_versions": []}, "certificate_versions"),
        ({"certificate_versions": [70_000]}, "certificate_versions"),
    ],
)
def test_each_mistake_says_what_to_do(tmp_path: Path, keys: dict[str, object], says: str) -> None:
    mistakes, _ = told(tmp_path, **keys)
    assert len(mistakes) == 1
    assert says in mistakes[0]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"url": "stratum2+tcp://pool.example:3336", "allow_unauthenticated": True}, "anybody on the way"),
        ({"allow_unauthenticated": True}, "has no effect"),
        ({"certificate_versions": [0, 1]}, "version 0 alone"),
        ({"suggest_difficulty": 4.0}, "has no effect"),
        ({"tls_server_name": "pool.example"}, "has no effect"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(tmp_path: Path, keys: dict[str, object], says: str) -> None:
    mistakes, warnings = told(tmp_path, **keys)
    assert mistakes == []
    assert any(says in line for line in warnings)
