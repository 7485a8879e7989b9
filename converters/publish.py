"""From a source on this machine to a version in the store: convert once, publish, find again.

Bringing a source here is `model_store/sources.py`'s, what a conversion does is `pipeline.py`'s.
"""

from __future__ import annotations

import hashlib
import os
import shutil
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
from converters.handlers.environment import environment_for
from converters.pipeline import ConversionRequest, Converted
from converters.sandbox import DEFAULT_LIMITS, SandboxLimits, run_in_sandbox
from model_store.errors import ConfigError, ConversionError, SourceError, TrustRequired, Unsupported
from model_store.manifest import HandlerSpec, Manifest
from model_store.sources import digest_source
from model_store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Published:
    """The version, and whether it was converted just now or found."""

    manifest: Manifest
    converted: bool


def require_trust(manifest: Manifest, trust: bool) -> None:
    """Raises `TrustRequired` for a version whose files may run code, where the config does not allow that.

    A version is found by its number or by what it was made from. Neither says who allowed it: somebody else's
    `trust: true`, in the same store, does not count for this model.
    """
    if manifest.trusted and not trust:
        raise TrustRequired(
            f"version {manifest.version} of {manifest.name!r} was made with `trust: true`: loading it may run code "
            "that it carries; say `trust: true` for this model too"
        )


def conversion_key(source_digest: str, converter: Converter, options: ConversionOptions) -> str:
    """Digest of all that decides what a conversion gives: source bytes, converter, options.

    `trust` permits and does not change the outcome, `framework` only says what `converter` is, `code_folder` where the
    user's own code lies, `licence` and `notes` are for people; none counts. `against_mxnet` counts by whether there is
    one. `examples`, `calibration`, `labels` and the user's modules in `code_folder` count by their bytes. Raises
    `ConfigError` when they can't be read.
    """
    fields = msgspec.to_builtins(options)
    for name in ("trust", "framework", "code_folder", "licence", "notes"):
        del fields[name]
    fields["examples"] = _digest_file("examples", options.examples)
    fields["calibration"] = _digest_file("convert.calibration", options.calibration)
    fields["labels"] = _digest_file("labels", options.labels)
    fields["against_mxnet"] = options.against_mxnet is not None
    fields["code"] = _digest_code(options)
    parts = {
        "source": source_digest,
        "converter": converter.framework,
        "revision": converter.revision,
        "options": fields,
    }
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def _digest_file(key: str, path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"{key}: {path!r} can't be read: {error.strerror or error}") from error


def _digest_code(options: ConversionOptions) -> str | None:
    """Digest of the user's own modules, so that a change of the network makes a new version; those that are installed
    elsewhere don't count."""
    named = sorted({place.split(":")[0] for place in (options.module, *options.custom_objects.values()) if place})
    if options.code_folder is None or not named:
        return None
    stems = [Path(options.code_folder, *name.split(".")) for name in named]
    files = [path for stem in stems for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest() if files else None


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
            require_trust(known, options.trust)
            on_progress(f"version {known.version} was made from the same source and options")
            return Published(known, converted=False)
        with tempfile.TemporaryDirectory(prefix="onegate-convert-", ignore_cleanup_errors=True) as folder:
            start = time.monotonic()
            request = _request(converter, source, options, folder)
            converted = _run(request, on_progress, limits)
            if digest_source(source) != source_digest:
                raise SourceError(f"source {source.name!r} changed while it was converted; convert it again")
            manifest = manifest_of(name, key, source, source_digest, converter, options, converted)
            manifest = msgspec.structs.replace(manifest, seconds=round(time.monotonic() - start, 3))
            files = _files(converted, Path(folder))
            if converted.handler is not None:
                _build_environment(converted.handler, files, on_progress)
            on_progress("publishing")
            return Published(store.publish(manifest, files), converted=True)


def _run(request: ConversionRequest, on_progress: Callable[[str], None], limits: SandboxLimits) -> Converted:
    """Converts; when the process died of it, once more for the framework's own runtime where that is allowed."""
    try:
        return run_in_sandbox(request, on_progress, limits)
    except ConversionError as crash:
        options = request.options
        if "exit_code" not in crash.details or not options.may_fall_back:
            raise
        on_progress(f"{crash.message}; trying the framework's own runtime")
        native = msgspec.structs.replace(request, options=msgspec.structs.replace(options, to="native"))
        _empty(Path(request.workdir))
        try:
            converted = run_in_sandbox(native, on_progress, limits)
        except (ConversionError, Unsupported):
            raise crash from None
        return msgspec.structs.replace(converted, reason=crash.message)


def _build_environment(spec: HandlerSpec, files: dict[str, Path], on_progress: Callable[[str], None]) -> None:
    """A handler's environment is built before its version exists, so that one that can't be built is no version."""
    name, path = next(iter(files.items()))
    environment_for(Path(str(path).removesuffix(name)), spec.requirements, spec.python, on_progress)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _request(converter: Converter, source: Path, options: ConversionOptions, folder: str) -> ConversionRequest:
    # The child has a working folder of its own, so relative paths would mean something else there.
    paths = {
        name: str(Path(path).resolve())
        for name in ("examples", "calibration", "labels", "code_folder")
        if (path := getattr(options, name))
    }
    if options.against_mxnet:
        # Nor has the child a search path. Links stay: a virtual environment is found by the link that is its Python.
        paths["against_mxnet"] = os.path.abspath(shutil.which(options.against_mxnet) or options.against_mxnet)
    return ConversionRequest(
        framework=converter.framework,
        source=str(source.resolve()),
        workdir=str(Path(folder).resolve()),
        options=msgspec.structs.replace(options, **paths),
    )


def _files(converted: Converted, folder: Path) -> dict[str, Path]:
    """The child's files; they must lie in its folder, as the child is not believed blindly."""
    files = {name: Path(path).resolve() for name, path in converted.files.items()}
    outside = [name for name, path in files.items() if not path.is_relative_to(folder.resolve())]
    if outside:
        raise SourceError(f"the converter process named a file outside of its folder: {outside[0]!r}")
    return files


def manifest_of(
    name: str,
    key: str,
    source: Path,
    source_digest: str,
    converter: Converter,
    options: ConversionOptions,
    converted: Converted,
) -> Manifest:
    """What a version says of itself, before the store gives it its number and files."""
    return Manifest(
        name=name,
        key=key,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        framework=converted.framework or converter.framework,
        source_digest=source_digest,
        source_name=source.name,
        runtime=converted.runtime,
        reason=converted.reason,
        trusted=options.trust and converted.runtime != "onnx",
        files={},
        signatures=converted.signatures,
        default_signature=converted.default_signature,
        graphs=converted.graphs,
        optimised=converted.optimised,
        fixed_batch=converted.fixed_batch,
        opset=converted.opset,
        precision=options.precision,
        parity=converted.parity,
        # A handler takes a batch of requests that know nothing of each other.
        row_independent=converted.parity.row_independent if converted.parity else True,
        profile=converted.profile,
        processor=converted.processor,
        handler=converted.handler,
        labels=converted.labels,
        libraries=converted.libraries,
        licence=options.licence,
        notes=options.notes,
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
