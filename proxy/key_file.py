"""The file with the secrets of the Stratum V2 port: the static key devices talk to, and the authority key that vouches for it.

TOML, mode 0600. The certificate is not in it: it is issued when the proxy starts and renewed while it runs. Devices pin the
authority's public key, so the file is to be kept: with another one every device must be configured anew.
"""

import os
from pathlib import Path

import msgspec

from protocol.v2.keys import (
    AuthorityKey,
    NoiseKey,
    Rng,
    authority_key_from,
    encode_authority_key,
    new_authority_key,
    new_noise_key,
    noise_key_from,
)
from proxy.errors import ConfigError
from proxy.private_file import exposed

_HEAD = "# Keys of a Stratum V2 port. Secret: whoever has them can pose as this site. Made by `thermostratum keygen`.\n"


class KeyFile(msgspec.Struct, forbid_unknown_fields=True):
    """The file's content. authority_key is public, and only there for people: it is what devices are configured with."""

    authority_key: str
    authority_secret: str
    static_secret: str


def write_keys(path: Path, rng: Rng) -> str:
    """Make new keys in a new file and return the authority's public key. Raises OSError; an existing file is never touched."""
    authority, static = new_authority_key(rng), new_noise_key(rng)
    public = encode_authority_key(authority.public_x)
    content = KeyFile(authority_key=public, authority_secret=authority.secret.hex(), static_secret=static.secret.hex())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_HEAD.encode() + msgspec.toml.encode(content))
        file.flush()
        os.fsync(file.fileno())
    return public


def read_keys(path: Path, rng: Rng) -> tuple[NoiseKey, AuthorityKey]:
    """The keys in the file. Raises ConfigError saying what is wrong and what to do; no message shows a secret."""
    try:
        text = path.read_bytes()
        problem = exposed(path)
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}; make it: `thermostratum keygen {path}`"]) from error
    if problem is not None:
        raise ConfigError([problem])
    try:
        content = msgspec.toml.decode(text, type=KeyFile)
        authority = authority_key_from(bytes.fromhex(content.authority_secret))
        static = noise_key_from(bytes.fromhex(content.static_secret), rng)
    except (msgspec.MsgspecError, ValueError):
        raise ConfigError([f"{path} is no key file, or damaged; restore it, or make another: `thermostratum keygen`"]) from None
    if encode_authority_key(authority.public_x) != content.authority_key:
        raise ConfigError([f"{path}: authority_key does not belong to authority_secret; restore the file"])
    return static, authority
