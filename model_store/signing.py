"""Who vouches for a version: Ed25519 over the bytes of its manifest, which hold the digests of all its files.

    <store>/models/<name>/<version>/signatures/<key id>.json

One file a key, each written once, beside the manifest. Whether versions must be signed is the config's; key files are
`signing_keys.py`'s.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from model_store.errors import NotSigned
from model_store.filesystems import store_access
from model_store.manifest import Manifest, decode_manifest
from model_store.seal import SEALED_FORMAT, check_format, is_sealed, seal
from model_store.signing_keys import key_id
from model_store.store import Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """What one key said: `signature` is base64 of the 64 bytes that Ed25519 gives for the manifest's."""

    format: int = SEALED_FORMAT
    algorithm: str = "ed25519"
    key: str
    manifest_sha256: str
    """For people and messages; the signature itself is over the whole manifest."""
    signature: str


def sign(store: Store, name: str, version: int, private_key: Ed25519PrivateKey) -> str:
    """Signs a stored version; returns the key's id. A record that is there and right is kept, another replaced.

    Raises `ModelNotFound`, `IntegrityError` for a manifest that is damaged, and `StoreError`.
    """
    data = store.manifest_bytes(name, version)
    public_key = private_key.public_key()
    record = Signed(
        key=key_id(public_key),
        manifest_sha256=hashlib.sha256(data).hexdigest(),
        signature=base64.b64encode(private_key.sign(data)).decode(),
    )
    path = _path(name, version, record.key)
    with store_access(store.filesystem, "written"):
        if _fault(store, path, public_key, data) is not None:
            # One key gives one record for one manifest: what is there instead, if anything, is damaged.
            store.filesystem.remove(path)
            # A rival with the same key wrote the same.
            with suppress(FileExistsError):
                store.filesystem.create(path, seal(record))
    return record.key


def verify(store: Store, manifest: Manifest, public_keys: Sequence[Ed25519PublicKey]) -> str:
    """The id of the first of the keys that signed the version as the store has it, which must be `manifest`.

    Raises `NotSigned`, which says whether nobody signed it, somebody else, or it was altered; `StoreError`.
    """
    name, version = manifest.name, manifest.version
    data = store.manifest_bytes(name, version)
    if decode_manifest(data) != manifest:
        raise _refusal(manifest, "its manifest in the store is not the one that it was prepared with; apply again")
    folder = f"models/{name}/{version}/signatures"
    with store_access(store.filesystem, "read"):
        present = {file.removesuffix(".json") for file in store.filesystem.names(folder)}
        faults = []
        for key in public_keys:
            if key_id(key) in present:
                fault = _fault(store, _path(name, version, key_id(key)), key, data)
                if fault is None:
                    return key_id(key)
                faults.append(f"what key {key_id(key)} signed does not hold: {fault}")
    if faults:
        raise _refusal(manifest, "; ".join(faults))
    if present:
        trusted = ", ".join(map(key_id, public_keys))
        raise _refusal(manifest, f"it is signed by {', '.join(sorted(present))}, and trusted are only {trusted}")
    raise _refusal(manifest, f"nobody has signed it; `onegate sign {name} {version} --private-key FILE` does")


def _fault(store: Store, path: str, public_key: Ed25519PublicKey, data: bytes) -> str | None:
    """Why the record at `path` does not hold for the manifest bytes `data`; None when it does. Raises `OSError`."""
    from cryptography.exceptions import InvalidSignature

    try:
        text = store.filesystem.read(path)
        record = msgspec.json.decode(text, type=Signed)
        check_format(is_sealed(text), record.format, "record")
        if (record.algorithm, record.key) != ("ed25519", key_id(public_key)):
            raise ValueError(f"it says {record.algorithm} by {record.key}")
        if record.manifest_sha256 != (actual := hashlib.sha256(data).hexdigest()):
            return f"the manifest was altered: expected sha256 {record.manifest_sha256}, got {actual}"
        public_key.verify(base64.b64decode(record.signature, validate=True), data)
    except FileNotFoundError:
        return "the record is missing"
    except InvalidSignature:
        return "the signature is not of this manifest by this key"
    except (ValueError, RecursionError) as error:
        return f"the record is damaged: {error}"
    return None


def _path(name: str, version: int, key: str) -> str:
    return f"models/{name}/{version}/signatures/{key}.json"


def _refusal(manifest: Manifest, why: str) -> NotSigned:
    return NotSigned(
        f"no trusted key vouches for version {manifest.version} of {manifest.name!r}: {why}",
        model=manifest.name,
        version=manifest.version,
    )
