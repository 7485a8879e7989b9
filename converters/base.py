"""What a converter is, what it returns, and the registry of them.

A converter turns a source (an exported file or folder) into an ONNX file plus a signature, and can run the
source in its own framework, so that the parity gate can compare. Publishing is the store's work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from model_store.errors import SourceError
from model_store.manifest import Signature, TensorSpec

Arrays = Mapping[str, np.ndarray]
"""Tensors by name; BYTES tensors are object arrays of `bytes`."""


class ConversionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the config asks of a conversion. Every field is part of the version's key, except `trust`."""

    framework: str | None = None
    """Overrides detection by content."""
    inputs: tuple[TensorSpec, ...] | None = None
    """For sources that carry no shapes."""
    precision: str = "float32"
    rtol: float = 1e-4
    """Largest error of an output, relative to its own scale."""
    largest_batch: int = 64
    """The gate proves batches 1, 3 and this one."""
    trust: bool = False
    """Whether code inside the source may run."""


@dataclass(frozen=True)
class Conversion:
    """What a converter returns, before the parity gate has seen it."""

    model: Path
    """The ONNX file; external data lies beside it."""
    signature: Signature
    """Public names; they are the names of the ONNX graph's inputs and outputs."""
    reference: Callable[[Arrays], dict[str, np.ndarray]]
    """Runs the source in its own framework: named inputs to named outputs."""
    reference_name: str
    """As 'pytorch 2.13.0'."""
    labels: tuple[str, ...] | None = None
    libraries: dict[str, str] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Input name -> smallest and largest sensible value, for the gate's random inputs, where the source tells."""


class Converter(ABC):
    """One framework. Subclasses import their framework inside `convert` only."""

    framework: str
    """The name in configs and reports: `pytorch`, `keras`, `sklearn`, `boosting`, `onnx`."""
    extra: str | None
    """The extra of the distribution that brings the framework; None when the base install does."""
    revision: int = 1
    """Raised when the converter's output changes, so that stored versions are made anew."""

    @abstractmethod
    def detects(self, source: Path) -> bool:
        """Whether the bytes of `source` are of this framework. Reads headers only, imports no framework."""

    @abstractmethod
    def convert(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """Writes the ONNX model into `workdir`.

        Raises `SourceError` for a source that can't be read, `TrustRequired` where reading would run code,
        `ConversionError` where the framework's exporter fails.
        """


_REGISTRY: dict[str, Converter] = {}


def register(converter: Converter) -> Converter:
    """Adds a converter; registering a framework twice is an error."""
    if converter.framework in _REGISTRY:
        raise ValueError(f"converter {converter.framework!r} is registered already")
    _REGISTRY[converter.framework] = converter
    return converter
