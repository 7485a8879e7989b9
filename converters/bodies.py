"""What a version takes beside tensors: the processor and the labels that the config or the source itself asks for."""

from __future__ import annotations

from pathlib import Path

from converters.base import Conversion, ConversionOptions
from converters.candidates import signatures_of
from converters.labels import read_labels
from converters.processors import check_processor
from model_store.errors import ConfigError, ConversionError
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, ImageProcessor, Processor, Signature


class BodyOptions:
    """The config's part; it wins over the source's. Raises `ConfigError` when the file of labels can't be read."""

    def __init__(self, options: ConversionOptions) -> None:
        self._processor = options.processor
        self._precision = options.precision
        self._labels = read_labels(Path(options.labels)) if options.labels is not None else None

    def processor(self, conversion: Conversion) -> Processor | None:
        """What serves raw bodies; None where that is a handler or nothing in particular."""
        return self._processor or conversion.processor

    def labels(self, conversion: Conversion) -> tuple[str, ...] | None:
        """Names of the classes."""
        return self._labels or conversion.labels

    def check(self, conversion: Conversion) -> None:
        """Raises `ConfigError` where processor or labels do not fit the default signature."""
        processor = self.processor(conversion)
        compared = self._labels or (conversion.labels if isinstance(processor, ImageProcessor) else None)
        check_processor(processor, conversion.signature, compared)

    def signatures(self, conversion: Conversion) -> dict[str, Signature]:
        """All signatures of the version by name, the default one first, that of raw bodies last.

        Raises `ConfigError` for a processor or labels in front of a handler, and `ConversionError` for a source whose
        own signature has the name of that of raw bodies.
        """
        own = signatures_of(conversion)
        if conversion.unproven is not None:
            self._check_unproven(conversion.unproven)
            return own
        if PAYLOAD in own:
            raise ConversionError(f"the source has a signature {PAYLOAD!r}; the name is taken by that of raw bodies")
        return {**own, PAYLOAD: PAYLOAD_SIGNATURE} if self.processor(conversion) else own

    def _check_unproven(self, reason: str) -> None:
        if self._processor is not None:
            raise ConfigError(f"processor: raw bodies go to the source's own code ({reason}); leave the key out")
        if self._labels is not None:
            raise ConfigError(f"labels: the source's own code names the classes ({reason}); leave the key out")
        if self._precision != "float32":
            raise ConfigError(f"convert.precision: {self._precision!r} is for ONNX models only ({reason})")
