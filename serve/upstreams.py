"""Models of other servers: what a `grpc://` source names, and the version that is made of it.

Such a version has no files: it is the URL, and the signature that the server told when it was asked. Calling it is left
to `executors/upstream.py`.
"""

from __future__ import annotations

import hashlib
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from model_store.datatypes import DTYPES
from model_store.errors import OnegateError, SourceError
from model_store.manifest import Manifest, Signature, TensorSpec
from serve.routing import UpstreamOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_store.store import Store

UPSTREAM = "upstream"
"""Framework, runtime and executor of such versions."""

_SCHEMES = ("grpc", "grpcs")
_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([1-9][0-9]{0,4})")
_FORM = "expected grpc://HOST:PORT/MODEL, as grpcs://a:8001,b:8001/MODEL?version=3"


class UpstreamModel(msgspec.Struct, frozen=True):
    """What a URL names: a model at one or more addresses (`HOST:PORT`), and one of its versions, or the default."""

    addresses: tuple[str, ...]
    model: str
    version: str
    tls: bool


class TensorMetadata(msgspec.Struct, frozen=True):
    """A tensor as `ModelMetadata` tells it."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(msgspec.Struct, frozen=True):
    """What a server tells of a model."""

    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    platform: str


def is_upstream(source: str | None) -> bool:
    """Whether a source names a model of another server."""
    return source is not None and source.partition("://")[0].lower() in _SCHEMES and "://" in source


def upstream_model(source: str) -> UpstreamModel:
    """What the URL names; raises `SourceError` where it is none."""
    parts = urlsplit(source)
    addresses = tuple(parts.netloc.split(","))
    query = parse_qsl(parts.query, keep_blank_values=True)
    model = unquote(parts.path.removeprefix("/"))
    wrong = [address for address in addresses if not _ADDRESS.fullmatch(address)]
    if wrong or not model or "/" in model or parts.fragment or len(set(addresses)) != len(addresses):
        raise SourceError(f"source {source!r:.200}: {_FORM}", source=source)
    if [name for name, _ in query] not in ([], ["version"]):
        raise SourceError(f"source {source!r:.200}: expected nothing or `version` behind the '?'", source=source)
    return UpstreamModel(addresses, model, dict(query).get("version", ""), parts.scheme.lower() == "grpcs")


def publish_upstream(
    store: Store,
    name: str,
    source: str,
    options: UpstreamOptions,
    on_progress: Callable[[str], None],
    *,
    licence: str | None = None,
    notes: str | None = None,
) -> Manifest:
    """The version of model `name` for what the URL names: the stored one where the server tells the same as then, or a
    new one, which then says `licence` and `notes` of itself. Blocks.

    While the server can't be asked, that is the newest one of the same URL. Raises `SourceError` where there is none
    and for what can't be served, and `StoreError`.
    """
    from serve.executors.upstream_client import ask_metadata

    begin = time.monotonic()
    named = upstream_model(source)
    on_progress(f"asking {', '.join(named.addresses)}")
    try:
        metadata = ask_metadata(named, options)
    except OnegateError as error:
        known = _newest(store, name, source, options)
        if known is None:
            raise SourceError(f"source {source!r:.200}: {error.message}", source=source) from error
        on_progress(f"{error.message}; going on with version {known.version}")
        return known
    manifest = _manifest(name, source, options, metadata)
    seconds = round(time.monotonic() - begin, 3)
    said = msgspec.structs.replace(manifest, seconds=seconds, licence=licence, notes=notes or manifest.notes)
    return store.publish(said, {})


def stored_upstream(store: Store, name: str, source: str, options: UpstreamOptions) -> Manifest | None:
    """The version that `publish_upstream` would find; None where it would make one. Raises `SourceError`."""
    from serve.executors.upstream_client import ask_metadata

    try:
        metadata = ask_metadata(upstream_model(source), options)
    except OnegateError:
        return _newest(store, name, source, options)
    return store.find(name, _manifest(name, source, options, metadata).key)


def _newest(store: Store, name: str, source: str, options: UpstreamOptions) -> Manifest | None:
    for version in reversed(store.versions(name)):
        manifest = store.manifest(name, version)
        if (manifest.runtime, manifest.source_name) == (UPSTREAM, source) and manifest.row_independent == options.merge:
            return manifest
    return None


def _manifest(name: str, source: str, options: UpstreamOptions, metadata: ModelMetadata) -> Manifest:
    described = msgspec.json.encode([source, metadata, options.merge])
    digest = hashlib.sha256(described).hexdigest()
    return Manifest(
        name=name,
        key=digest,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        framework=UPSTREAM,
        source_digest=digest,
        source_name=source,
        runtime=UPSTREAM,
        files={},
        signatures={
            "serving_default": Signature(_specs(source, metadata.inputs), _specs(source, metadata.outputs)),
        },
        row_independent=options.merge,
        notes=f"platform {metadata.platform}" if metadata.platform else None,
    )


def _specs(source: str, tensors: tuple[TensorMetadata, ...]) -> tuple[TensorSpec, ...]:
    for tensor in tensors:
        if tensor.datatype not in DTYPES:
            raise SourceError(
                f"source {source!r:.200}: tensor {tensor.name!r:.80} is of no known datatype: {tensor.datatype!r:.40}",
                source=source,
            )
    if not tensors:
        raise SourceError(f"source {source!r:.200}: the server tells of no inputs, or of no outputs", source=source)
    return tuple(TensorSpec(tensor.name, tensor.datatype, tensor.shape) for tensor in tensors)
