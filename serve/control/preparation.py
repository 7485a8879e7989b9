"""From a model of the config to versions that can be served: sources are converted once and published.

How a version then runs is `serve_options.py`'s.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from converters.base import ConversionOptions, detect
from converters.publish import conversion_key, require_trust
from converters.sandbox import SandboxLimits
from model_store.archive_manifest import ArchiveManifest
from model_store.archives import looks_like_archive, open_archive
from model_store.errors import InvalidInput, ModelNotFound
from model_store.filesystems import is_inside, reason
from model_store.manifest import Manifest
from model_store.sources import digest_source, resolve_source
from model_store.store import Store
from serve.config_sections.model import ModelConfig, VersionConfig
from serve.control.allowed_sources import redirects
from serve.control.serve_options import serve_options, upstream_options
from serve.control.version_policies import asked_versions
from serve.control.wanted import Wanted
from serve.metrics.controller_counts import convert
from serve.rollouts.sticky import Sticky
from serve.routing import VersionEntry
from serve.store_policy import NO_POLICY, StorePolicy
from serve.upstreams import is_upstream, publish_upstream, stored_upstream

ALL_COPIES = 100.0
"""Percent of the calls of which a shadow gets copies, unless the config says less."""


def conversion_options(model: ModelConfig) -> ConversionOptions:
    """What the model's config asks of its conversion."""
    return ConversionOptions(
        framework=model.framework,
        inputs=tuple(declared.spec() for declared in model.inputs) if model.inputs else None,
        to=model.convert.to,
        on_failure=model.convert.on_failure,
        precision=model.convert.precision,
        calibration=model.convert.calibration,
        rtol=model.convert.parity.rtol,
        class_agreement=model.convert.parity.class_agreement,
        largest_batch=model.serve.batching.max_batch_size,
        examples=model.examples,
        module=model.module,
        custom_objects=dict(model.custom_objects),
        code_folder=model.code_folder,
        processor=model.processor.spec() if model.processor else None,
        labels=model.labels,
        against_mxnet=model.convert.against_mxnet,
        handler_python=model.handler.python,
        handler_batch_size=model.handler.batch_size,
        trust=model.trust,
        licence=model.licence,
        notes=model.notes,
    )


def conversion_limits(model: ModelConfig) -> SandboxLimits:
    """When the model's conversion is ended."""
    return SandboxLimits(timeout_s=model.convert.timeout_s, memory_bytes=int(model.convert.memory_gib * 2**30))


Made = Mapping[str, Manifest]
"""Source -> the version that has been made of it, of those that are not to be read again."""


def prepare_model(
    store: Store, model: ModelConfig, allowed: Sequence[str], made: Made, on_progress: Callable[[str], None]
) -> tuple[Wanted, ...]:
    """The versions that the config names, in the store afterwards. `allowed` are the patterns of its `allowed_sources`.

    Raises `SourceError`, `TrustRequired`, `ConversionError`, `ModelNotFound`, `ConfigError` or `StoreError`.
    """
    return tuple(
        Wanted(
            VersionEntry(
                manifest := made.get(version.source or "") or _manifest(store, model, version, allowed, on_progress),
                serve_options(model.serve, manifest),
            ),
            traffic=version.traffic or 0,
            labels=tuple(version.label or ()),
            alias=version.as_version,
            source=version.source,
            shadow_percent=(version.shadow_percent or ALL_COPIES) if version.shadow else 0.0,
            sticky=_sticky(model),
        )
        for version in asked_versions(store, model)
    )


def _sticky(model: ModelConfig) -> Sticky | None:
    asked = model.sticky
    if asked is None or not (asked.header or asked.request_id):
        return None
    return Sticky(asked.header and asked.header.lower())


class Preparer:
    """Prepares models in threads of its own, `at_once` at the most: a conversion may take minutes, and nothing else of
    the process must wait for a thread meanwhile."""

    def __init__(self, store: Store, at_once: int, policy: StorePolicy = NO_POLICY) -> None:
        self._store = store
        self._policy = policy
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="prepare")
        self._last: dict[str, asyncio.Future[tuple[Wanted, ...]]] = {}

    async def prepare(
        self, model: ModelConfig, allowed: Sequence[str], made: Made, on_progress: Callable[[str], None]
    ) -> tuple[Wanted, ...]:
        """As `prepare_model`, with `on_progress` called on the event loop; `NotSigned` too, by the policy.

        A thread can't be stopped: when the caller is cancelled its work goes on unheard, and the next preparation of
        the model waits for its end instead of taking a second thread.
        """
        loop = asyncio.get_running_loop()
        heard = True

        def on_loop(text: str) -> None:
            if heard:
                on_progress(text)

        def tell(text: str) -> None:
            loop.call_soon_threadsafe(on_loop, text)

        if earlier := self._last.get(model.name):
            await asyncio.wait([earlier])
        work = loop.run_in_executor(self._threads, self._prepare, model, allowed, made, tell)
        self._last[model.name] = work
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            heard = False
            work.add_done_callback(_take_outcome)
            raise

    def _prepare(
        self, model: ModelConfig, allowed: Sequence[str], made: Made, on_progress: Callable[[str], None]
    ) -> tuple[Wanted, ...]:
        wanted = prepare_model(self._store, model, allowed, made, on_progress)
        for each in wanted:
            self._policy.check(self._store, each.entry.manifest)
        return wanted

    def stored(self, model: ModelConfig, version: VersionConfig, allowed: Sequence[str]) -> Manifest | None:
        """As `stored_version`; `NotSigned` too, by the policy. Blocks."""
        manifest = stored_version(self._store, model, version, allowed)
        if manifest is not None:
            self._policy.check(self._store, manifest)
        return manifest

    async def publish_files(self, model: ModelConfig, files: Mapping[str, bytes]) -> Manifest:
        """As `publish_files`, in one of the threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, publish_files, self._store, model, files)


def _take_outcome(work: asyncio.Future[tuple[Wanted, ...]]) -> None:
    """Nobody waits for it any more; an error that is never looked at would be logged as lost."""
    if not work.cancelled():
        work.exception()


def publish_files(store: Store, model: ModelConfig, files: Mapping[str, bytes]) -> Manifest:
    """The version made from the export that `files` are, by their relative paths. Code in it is never trusted: who
    sends bytes may not say so himself.

    Raises `InvalidInput` for a path that leaves the export, and as `prepare_model`.
    """
    for name in files:
        if not is_inside(name):
            raise InvalidInput(f"file {name!r:.80}: expected a relative path without '..'")
    with tempfile.TemporaryDirectory(prefix="onegate-files-") as folder:
        # By the model's own name: the export's is part of what converters look at.
        root = Path(folder) / model.name
        try:
            for name, content in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(content)
        except OSError as error:
            raise InvalidInput(f"the files can't be written as they are named: {reason(error)}") from error
        source = root / next(iter(files)) if len(files) == 1 else root
        options = msgspec.structs.replace(conversion_options(model), trust=False)
        return convert(store, model.name, source, options, limits=conversion_limits(model)).manifest


def archive_manifest(source: str, allowed: Sequence[str]) -> ArchiveManifest | None:
    """What the archive at a path or URL says of itself; None for what is no archive. Raises `SourceError`."""
    if is_upstream(source):
        return None
    with tempfile.TemporaryDirectory(prefix="onegate-source-") as folder:
        path = resolve_source(source, Path("/"), Path(folder) / "download", redirects(source, allowed))
        if not looks_like_archive(path):
            return None
        return open_archive(path, Path(folder) / "unpacked").manifest


def stored_version(store: Store, model: ModelConfig, version: VersionConfig, allowed: Sequence[str]) -> Manifest | None:
    """The version as far as the store has it already; None when a conversion would be needed. Raises as above."""
    if version.source is None:
        return _by_number(store, model, version)
    if is_upstream(version.source):
        return stored_upstream(store, model.name, version.source, upstream_options(model.serve))
    options = conversion_options(model)
    with tempfile.TemporaryDirectory(prefix="onegate-source-") as folder:
        source = resolve_source(version.source, Path("/"), Path(folder), redirects(version.source, allowed))
        converter = detect(source, options.framework, trust=options.trust)
        known = store.find(model.name, conversion_key(digest_source(source), converter, options))
    if known is not None:
        require_trust(known, options.trust)
    return known


def _manifest(
    store: Store,
    model: ModelConfig,
    version: VersionConfig,
    allowed: Sequence[str],
    on_progress: Callable[[str], None],
) -> Manifest:
    if version.source is None:
        return _by_number(store, model, version)
    if is_upstream(version.source):
        return publish_upstream(
            *(store, model.name, version.source, upstream_options(model.serve), on_progress),
            licence=model.licence,
            notes=model.notes,
        )
    with tempfile.TemporaryDirectory(prefix="onegate-source-") as folder:
        source = resolve_source(version.source, Path("/"), Path(folder), redirects(version.source, allowed))
        options = conversion_options(model)
        published = convert(
            store, model.name, source, options, on_progress=on_progress, limits=conversion_limits(model)
        )
        return published.manifest


def _by_number(store: Store, model: ModelConfig, version: VersionConfig) -> Manifest:
    """A version that is in the store."""
    if version.version is None:
        raise ModelNotFound(f"model {model.name!r}: the config names neither a source nor a version")
    manifest = store.manifest(model.name, version.version)
    require_trust(manifest, model.trust)
    return manifest
