"""From a source on this machine to a version in the store: convert once, publish, find again.

Bringing a source here is `model_store/sources.py`'s, what a conversion does is `pipeline.py`'s.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from converters.base import ConversionOptions, Converter, detect
from converters.pipeline import ConversionRequest, Converted
from converters.sandbox import DEFAULT_LIMITS, SandboxLimits, run_in_sandbox
from model_store.errors import ConfigError, SourceError
from model_store.manifest import Manifest
from model_store.sources import digest_source
from model_store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Published:
    """The version, and whether it was converted just now or found."""

    manifest: Manifest
    converted: bool


def conversion_key(source_digest: str, converter: Converter, options: ConversionOptions) -> str:
    """Digest of all that decides what a conversion gives: source bytes, converter, options.

    `trust` permits and does not change the outcome, and `framework` only says what `converter` is; neither counts.
    `examples` counts by its bytes. Raises `ConfigError` when the examples can't be read.
    """
    fields = msgspec.to_builtins(options)
    del fields["trust"], fields["framework"]
    fields["examples"] = _digest_examples(options.examples)
    parts = {
        "source": source_digest,
        "converter": converter.framework,
        "revision": converter.revision,
        "options": fields,
    }
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def _digest_examples(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"examples: {path!r} can't be read: {error.strerror or error}") from error


def convert_and_publish(
    store: Store,
    name: str,
    source: Path,
    options: ConversionOptions,
    *,
    on_progress: Callable[[str], None] = lambda _: None,
    limits: SandboxLimits = DEFAULT_LIMITS,
) -> Published:
    """The version of model `name` made from `source` with `options`: the stored one, or a new one.

    Blocks; may be called from several threads, which convert the same thing once. Raises `SourceError`,
    `TrustRequired`, `ConversionError`, `ConfigError` and `StoreError`.
    """
    converter = detect(source, options.framework, trust=options.trust)
    source_digest = digest_source(source)
    key = conversion_key(source_digest, converter, options)
    with _one_at_a_time(f"{store.url}\0{name}\0{key}"):
        if known := store.find(name, key):
            on_progress(f"version {known.version} was made from the same source and options")
            return Published(known, converted=False)
        with tempfile.TemporaryDirectory(prefix="onegate-convert-", ignore_cleanup_errors=True) as folder:
            start = time.monotonic()
            request = _request(converter, source, options, folder)
            converted = run_in_sandbox(request, on_progress, limits)
            if digest_source(source) != source_digest:
                raise SourceError(f"source {source.name!r} changed while it was converted; convert it again")
            manifest = _manifest(name, key, source, source_digest, converter, options, converted)
            manifest = msgspec.structs.replace(manifest, seconds=round(time.monotonic() - start, 3))
            on_progress("publishing")
            return Published(store.publish(manifest, _files(converted, Path(folder))), converted=True)


def _request(converter: Converter, source: Path, options: ConversionOptions, folder: str) -> ConversionRequest:
    # The child has a working folder of its own, so relative paths would mean something else there.
    examples = str(Path(options.examples).resolve()) if options.examples else None
    return ConversionRequest(
        framework=converter.framework,
        source=str(source.resolve()),
        workdir=str(Path(folder).resolve()),
        options=msgspec.structs.replace(options, examples=examples),
    )


def _files(converted: Converted, folder: Path) -> dict[str, Path]:
    """The child's files; they must lie in its folder, as the child is not believed blindly."""
    files = {name: Path(path).resolve() for name, path in converted.files.items()}
    outside = [name for name, path in files.items() if not path.is_relative_to(folder.resolve())]
    if outside:
        raise SourceError(f"the converter process named a file outside of its folder: {outside[0]!r}")
    return files


def _manifest(
    name: str,
    key: str,
    source: Path,
    source_digest: str,
    converter: Converter,
    options: ConversionOptions,
    converted: Converted,
) -> Manifest:
    return Manifest(
        name=name,
        key=key,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        framework=converter.framework,
        source_digest=source_digest,
        source_name=source.name,
        runtime="onnx",
        files={},
        signatures={"serving_default": converted.signature},
        opset=converted.opset,
        precision=options.precision,
        parity=converted.parity,
        row_independent=converted.parity.row_independent,
        profile=converted.profile,
        labels=converted.labels,
        libraries=converted.libraries,
    )


class _KeyLocks:
    """A lock for each key that is in use, and none for others."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def __call__(self, key: str) -> Iterator[None]:
        with self._guard:
            lock, users = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks.pop(key)
                if users > 1:
                    self._locks[key] = (lock, users - 1)


_one_at_a_time = _KeyLocks()
