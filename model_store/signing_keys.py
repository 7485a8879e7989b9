"""Key files for signing versions: Ed25519 in PEM, PKCS 8 and SubjectPublicKeyInfo, as other tools write them too."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.errors import ConfigError
from model_store.filesystems import reason

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PUBLIC_ENDING = ".pub"


def key_id(key: Ed25519PublicKey) -> str:
    """32 hex digits by which records and messages name a key: the beginning of the sha256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def write_new_pair(path: Path) -> tuple[Path, Path]:
    """Makes a pair: the private key at `path`, mode 0600, the public one beside it with `.pub` behind its name.

    Raises `ConfigError` when a file is there already or can't be written.
    """
    from cryptography.hazmat.primitives import serialization as as_
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(as_.Encoding.PEM, as_.PrivateFormat.PKCS8, as_.NoEncryption())
    public = key.public_key().public_bytes(as_.Encoding.PEM, as_.PublicFormat.SubjectPublicKeyInfo)
    beside = path.with_name(path.name + PUBLIC_ENDING)
    for each in (path, beside):
        if os.path.lexists(each):
            raise ConfigError(f"key file {str(each)!r} exists; name another, a key that is lost can't be had again")
    _write(path, private, 0o600)
    _write(beside, public, 0o644)
    return path, beside


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The private key in the file. Raises `ConfigError` for what can't be read, or is no such key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = read_key_file(path)
    try:
        key = load_pem_private_key(data, password=None)
    except TypeError as error:
        raise ConfigError(f"key file {str(path)!r} is encrypted: expected one without a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(str(path), "private") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(str(path), "private")
    return key


def public_key_of(pem: bytes, where: str) -> Ed25519PublicKey:
    """The public key in PEM text; raises `ConfigError`, which names `where` it is from, for what is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(where, "public") from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(where, "public")
    return key


def read_key_file(path: Path) -> bytes:
    """The bytes of a key file; raises `ConfigError` when it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"key file {str(path)!r} can't be read: {reason(error)}") from error


def _no_key(where: str, what: str) -> ConfigError:
    return ConfigError(f"{where!r}: expected an Ed25519 {what} key in PEM, as `onegate sign --new-key FILE` writes it")


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise ConfigError(f"key file {str(path)!r} can't be written: {reason(error)}") from error
