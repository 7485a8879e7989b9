"""What the controller counts itself: conversions and what it asks of the store. Several threads do either."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from converters.base import ConversionOptions, detect
from converters.publish import Published, convert_and_publish
from converters.sandbox import DEFAULT_LIMITS, SandboxLimits
from model_store.errors import OnegateError
from model_store.manifest import Manifest
from model_store.node_cache import NodeCache
from model_store.store import Store
from serve.errors import kind_of
from serve.metrics.buckets import Sizes

CONVERSION_BOUNDS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

OK = "ok"
FOUND = "found"
FAILED = "failed"
UNKNOWN = "unknown"
"""The framework of a source that is of none."""

T = TypeVar("T")


class ControllerCounts:
    """Since the controller started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._conversions: Counter[tuple[str, str]] = Counter()
        self._conversion_s: dict[str, Sizes] = {}
        self._operations: Counter[tuple[str, str]] = Counter()

    def count_conversion(self, framework: str, outcome: str, seconds: float | None) -> None:
        """A conversion ended; `seconds` is None where there was none to be made."""
        with self._lock:
            self._conversions[framework, outcome] += 1
            if seconds is not None:
                took = self._conversion_s.setdefault(framework, Sizes.within(CONVERSION_BOUNDS_S))
                took.add(seconds, CONVERSION_BOUNDS_S)

    def count_operation(self, operation: str, outcome: str) -> None:
        """The store was asked for something."""
        with self._lock:
            self._operations[operation, outcome] += 1

    def now(self) -> Counted:
        """A copy of all."""
        with self._lock:
            durations = {
                framework: Sizes(took.counts.copy(), took.total) for framework, took in self._conversion_s.items()
            }
            return Counted(dict(self._conversions), durations, dict(self._operations))


class Counted(msgspec.Struct, frozen=True):
    """`conversions` by framework and outcome, `conversion_s` by framework, `operations` by operation and outcome."""

    conversions: Mapping[tuple[str, str], int]
    conversion_s: Mapping[str, Sizes]
    operations: Mapping[tuple[str, str], int]


class CountedStore(Store):
    """A store whose operations are counted, and the conversions into it."""

    def __init__(self, url: str, cache: NodeCache | None = None) -> None:
        super().__init__(url, cache)
        self.counts = ControllerCounts()

    def versions(self, name: str) -> list[int]:
        """As `Store.versions`."""
        return self._counted("list", lambda: super(CountedStore, self).versions(name))

    def manifest(self, name: str, version: int) -> Manifest:
        """As `Store.manifest`."""
        return self._counted("read", lambda: super(CountedStore, self).manifest(name, version))

    def find(self, name: str, key: str) -> Manifest | None:
        """As `Store.find`."""
        return self._counted("find", lambda: super(CountedStore, self).find(name, key))

    def publish(self, manifest: Manifest, files: Mapping[str, Path]) -> Manifest:
        """As `Store.publish`."""
        return self._counted("publish", lambda: super(CountedStore, self).publish(manifest, files))

    def _counted(self, operation: str, call: Callable[[], T]) -> T:
        try:
            found = call()
        except Exception as error:
            self.counts.count_operation(operation, kind_of(error))
            raise
        self.counts.count_operation(operation, OK)
        return found


def convert(
    store: Store,
    name: str,
    source: Path,
    options: ConversionOptions,
    *,
    on_progress: Callable[[str], None] = lambda _: None,
    limits: SandboxLimits = DEFAULT_LIMITS,
) -> Published:
    """As `convert_and_publish`, counted where the store counts."""
    if not isinstance(store, CountedStore):
        return convert_and_publish(store, name, source, options, on_progress=on_progress, limits=limits)
    begin = time.monotonic()
    try:
        published = convert_and_publish(store, name, source, options, on_progress=on_progress, limits=limits)
    except Exception:
        store.counts.count_conversion(_framework(source, options), FAILED, time.monotonic() - begin)
        raise
    manifest = published.manifest
    if published.converted:
        store.counts.count_conversion(manifest.framework, _outcome(manifest), time.monotonic() - begin)
    else:
        store.counts.count_conversion(manifest.framework, FOUND, None)
    return published


def _outcome(manifest: Manifest) -> str:
    return manifest.runtime if manifest.runtime in ("onnx", "handler") else "native"


def _framework(source: Path, options: ConversionOptions) -> str:
    try:
        return detect(source, options.framework, trust=options.trust).framework
    except OnegateError:
        return UNKNOWN
