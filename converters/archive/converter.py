"""Archives of MXNet Model Server and TorchServe, to ONNX by the converter of the model inside.

The archive is unpacked, its model found and handed on, with the shapes and labels that the archive knows. An archive
whose handler is code of its own becomes a version of the runtime `handler` instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from converters.archive.handlers import handler_conversion
from converters.archive.inputs import options_for
from converters.archive.payloads import find_payload
from converters.archive.services import CustomHandler, StandardService, service_of
from converters.base import (
    CONVERTERS,
    Conversion,
    ConversionOptions,
    Converter,
    detect,
    load_converter,
    missing_library,
)
from model_store.archives import Archive, describe_archive, looks_like_archive, open_archive
from model_store.manifest import Processor

T = TypeVar("T")


class ArchiveConverter(Converter):
    """`.mar` of MXNet Model Server and TorchServe, and `.model` of MXNet Model Server 0.4."""

    framework = "archive"
    extra = None
    kinds = "an archive of MXNet Model Server or TorchServe (.mar, .model, or its folder)"

    @cached_property
    def revision(self) -> int:  # type: ignore[override] # of the whole chain, and read once
        """Grows with that of any converter that may do the work inside."""
        return 1 + sum(load_converter(name).revision for name in CONVERTERS if name != self.framework)

    def detects(self, source: Path) -> bool:
        """By the manifest in its listing."""
        return looks_like_archive(source)

    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        """Those of the inner converter, or the handler. Raises what either raises, and `SourceError` for an archive
        that is unsafe, damaged, or holds no model."""
        archive = _opened(source, workdir)
        service = _service(archive, options)
        if isinstance(service, CustomHandler):
            return iter([handler_conversion(archive, service.file, options)])
        inner = _Inner.of(archive, service.processor, options, workdir)
        found = inner.converter.alternatives(inner.payload, inner.options, workdir)
        # No generator: it would end with the first conversion that fails.
        return map(inner.named, iter(lambda: inner.checked(lambda: next(found, None)), None))

    def native(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """The inner converter's own, or the handler."""
        archive = _opened(source, workdir)
        service = _service(archive, options)
        if isinstance(service, CustomHandler):
            return handler_conversion(archive, service.file, options)
        inner = _Inner.of(archive, service.processor, options, workdir)
        return inner.named(inner.checked(lambda: inner.converter.native(inner.payload, inner.options, workdir)))


def _opened(source: Path, workdir: Path) -> Archive:
    """Unpacked once for all ways to convert it."""
    folder = workdir / "archive"
    return describe_archive(folder, source.name) if folder.exists() else open_archive(source, folder)


def _service(archive: Archive, options: ConversionOptions) -> StandardService | CustomHandler:
    """The user's processor takes the place of whatever the archive asks for."""
    return StandardService(options.processor) if options.processor is not None else service_of(archive)


@dataclass(frozen=True)
class _Inner:
    """The model inside, its converter, and what that must be told."""

    archive: Archive
    payload: Path
    converter: Converter
    processor: Processor | None
    options: ConversionOptions

    @classmethod
    def of(cls, archive: Archive, processor: Processor | None, options: ConversionOptions, workdir: Path) -> _Inner:
        payload = find_payload(archive, workdir)
        converter = detect(payload, trust=options.trust)
        plain = cls(archive, payload, converter, processor, options)
        told = plain.checked(lambda: options_for(archive, payload, converter.framework, processor, options, workdir))
        return dataclasses.replace(plain, options=told)

    def named(self, conversion: Conversion) -> Conversion:
        """The conversion with what the archive says of it."""
        return dataclasses.replace(
            conversion,
            framework=self.converter.framework,
            processor=self.processor,
            labels=self.archive.labels or conversion.labels,
        )

    def checked(self, work: Callable[[], T]) -> T:
        """What `work` gives; a library that it misses is told with the inner converter's extra."""
        with missing_library(self.converter.extra, f"the model in {self.archive.source!r}"):
            return work()
