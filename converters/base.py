"""What a converter is, what it returns, and the registry that finds one for a source.

A converter turns a source (an exported file or folder) into an ONNX file plus a signature, and can run the
source in its own framework, so that the parity gate can compare; where ONNX can't be had it makes files for its
framework's native runtime (`native.py`). Publishing is the store's work, and looking at first bytes that no
converter knows is `headers.py`'s.
"""

from __future__ import annotations

import difflib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from converters.headers import describe, refuse_pickle
from model_store.errors import ConfigError, ConversionError, SourceError, Unsupported
from model_store.manifest import HandlerSpec, Processor, Signature, TensorSpec

Arrays = Mapping[str, np.ndarray]
"""Tensors by name; BYTES tensors are object arrays of `bytes`."""

Range = tuple[float | np.ndarray, float | np.ndarray]
"""Smallest and largest sensible value of an input: one pair, or arrays that broadcast over its last dimensions."""


Run = Callable[[Arrays], dict[str, np.ndarray]]
"""A model as a function from named inputs to named outputs."""


class ConversionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the config asks of a conversion. Every field is part of the version's key, except `trust`, `framework`
    and `code_folder`; files count by their bytes."""

    framework: str | None = None
    """Overrides detection by content."""
    inputs: tuple[TensorSpec, ...] | None = None
    """For sources that carry no shapes."""
    to: str = "onnx"
    """`onnx`, or `native` for the framework's own runtime without trying ONNX."""
    on_failure: str = "native"
    """Where ONNX is impossible or not equal: `native` serves the source in its own framework, `reject` refuses it."""
    precision: str = "float32"
    """`float32` leaves the numbers as the source has them; `float16` and `int8` make the model smaller."""
    calibration: str | None = None
    """Path of an `.npz` of real inputs for static int8 quantisation; counts by its bytes, as `examples` does."""
    rtol: float | None = None
    """Largest error of an output, relative to its own scale; None for the precision's usual one."""
    class_agreement: float | None = None
    """Smallest share of rows whose arg-max agrees; None for the precision's usual one."""
    largest_batch: int = 64
    """The gate proves batches 1, 3 and this one."""
    examples: str | None = None
    """Path of an `.npz` of real inputs by name, rows first; the key holds its digest instead of its path."""
    module: str | None = None
    """`package.module:factory`, whose call gives the module that a PyTorch state dict belongs to."""
    custom_objects: dict[str, str] = {}
    """Keras: registered name -> `package.module:Class`."""
    code_folder: str | None = None
    """First on the path when `module` and `custom_objects` are imported: the folder of the config."""
    processor: Processor | None = None
    """What serves raw bodies; None for what the source itself asks for."""
    labels: str | None = None
    """Path of a text file, one class a line; counts by its bytes. None for what the source itself says."""
    against_mxnet: str | None = None
    """Command of a Python that has MXNet, for the reference of an MXNet source."""
    handler_python: str | None = None
    """Command of another Python, for the handler of an archive."""
    handler_batch_size: int | None = None
    """Most requests that an archive's handler is given at once; None for what the archive says."""
    trust: bool = False
    """Whether code inside the source may run."""
    licence: str | None = None
    """What the version says of itself; like `notes` it decides nothing."""
    notes: str | None = None

    @property
    def may_fall_back(self) -> bool:
        """Whether the framework's own runtime may serve what can't be ONNX. It knows no other precision."""
        return self.to == "onnx" and self.on_failure == "native" and self.precision == "float32"


@dataclass(frozen=True)
class Conversion:
    """What a converter returns, before the parity gate has seen it."""

    model: Path
    """The ONNX file, or the main file of a native version. All that lies in its folder belongs to the version."""
    signature: Signature
    """Public names; for ONNX they are the names of the graph's inputs and outputs."""
    reference: Run
    """Runs the source in its own framework. Never called where `unproven` says why."""
    reference_name: str
    """As 'pytorch 2.13.0'."""
    runtime: str = "onnx"
    """Name of the runtime that serves it: `onnx`, or one of `native.NATIVE_RUNTIMES`."""
    signature_name: str = "serving_default"
    others: tuple[Conversion, ...] = ()
    """Further signatures of the same source, each with a `model` in the same folder."""
    fixed_batch: int | None = None
    """The only batch that the model computes, where the server pads and splits: `signature` then says -1."""
    labels: tuple[str, ...] | None = None
    framework: str | None = None
    """Of the model inside, where the source is an archive."""
    processor: Processor | None = None
    handler: HandlerSpec | None = None
    precision: str = "float32"
    """How finely the source itself computes: the gate's usual tolerance is no finer than this precision's."""
    unproven: str | None = None
    """Why there is nothing to compare with: a handler is the source's own code."""
    libraries: dict[str, str] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """Where the gate's random inputs should lie, for the inputs whose source tells."""
    probes: Arrays = field(default_factory=dict)
    """Rows that the gate must try besides random ones (thresholds of trees, missing values, known words), by input
    name. Rows of the same index belong together."""
    choices: Arrays = field(default_factory=dict)
    """Values that random inputs are drawn from (words of a vocabulary, categories that exist), by input name:
    `[values]`, or `[values, columns]` for a matrix whose columns know different ones."""
    accepts_missing: bool = False
    """Whether NaN has a meaning to the model (a missing value); the gate then asks for equal answers."""


class Converter(ABC):
    """One framework. Subclasses import their framework inside `alternatives` and `native` only."""

    framework: str
    """The name in configs and reports, as `pytorch`: a key of `CONVERTERS`."""
    extra: str | None
    """The extra of the distribution that brings the framework; None when the base install does."""
    kinds: str
    """What it reads, in words, for error messages."""
    revision: int = 1
    """Raised when the converter's output changes, so that stored versions are made anew."""

    @abstractmethod
    def detects(self, source: Path) -> bool:
        """Whether the bytes of `source` are of this framework. Reads headers only, imports no framework."""

    @abstractmethod
    def alternatives(self, source: Path, options: ConversionOptions, workdir: Path) -> Iterator[Conversion]:
        """Conversions in order of preference; the first that passes the gate is taken. Usually there is one.

        Writes each ONNX model into a folder of its own below `workdir`. Raises `SourceError` for a source that can't
        be read, `TrustRequired` where reading would run code, `ConversionError` where the framework's exporter fails.
        """

    def convert(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """The preferred one of `alternatives`, which no gate has seen; raises as they do."""
        return next(self.alternatives(source, options, workdir))

    def native(self, source: Path, options: ConversionOptions, workdir: Path) -> Conversion:
        """The source for the native runtime of its framework, with the same public names that ONNX would have.

        Writes all files that the runtime needs into a folder of their own below `workdir`. Raises `Unsupported`
        where the framework has no runtime here.
        """
        raise Unsupported(f"{self.framework} models are served by ONNX Runtime only")


CONVERTERS: dict[str, str] = {
    "archive": "converters.archive.converter:ArchiveConverter",
    "mxnet": "converters.mxnet.converter:MXNetConverter",
    "pytorch": "converters.pytorch.converter:PyTorchConverter",
    "keras": "converters.keras.converter:KerasConverter",
    "tensorflow": "converters.tensorflow.converter:TensorFlowConverter",
    "sklearn": "converters.sklearn.converter:SklearnConverter",
    "boosting": "converters.boosting.converter:BoostingConverter",
    "onnx": "converters.onnx.converter:OnnxConverter",
}
"""Framework -> `module:class`, in the order of detection; a module is imported on first use only."""


@cache
def load_converter(framework: str) -> Converter:
    """The converter of that name; raises `ConfigError` with the nearest known name otherwise."""
    if framework not in CONVERTERS:
        near = difflib.get_close_matches(framework, CONVERTERS, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"framework: {framework!r} is not one of {', '.join(CONVERTERS)}{hint}", framework=framework)
    module, _, name = CONVERTERS[framework].partition(":")
    converter: Converter = getattr(importlib.import_module(module), name)()
    return converter


@contextmanager
def missing_library(extra: str | None, who: str = "the converter") -> Iterator[None]:
    """Turns the lack of a library into a `ConversionError` that says which extra of the distribution brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        hint = f": pip install 'onegate[{extra}]'" if extra else ""
        raise ConversionError(f"{who} needs the library {error.name!r}, which is not installed{hint}") from error


def detect(source: Path, framework: str | None = None, *, trust: bool = False) -> Converter:
    """The converter for `source`, found by its content and never by its name.

    `framework`, when given, picks the converter; the content must still be of its kind.
    Raises `SourceError` when the source is missing, empty or of no known kind, `TrustRequired` when it is
    a pickle and `trust` is false, `ConfigError` for an unknown `framework`.
    """
    wanted = load_converter(framework) if framework is not None else None
    if not source.exists():
        raise SourceError(f"source {source.name!r} does not exist", source=str(source))
    found = next((c for c in map(load_converter, CONVERTERS) if c.detects(source)), None)
    if wanted is not None and not wanted.detects(source):
        seen = f"its content is of framework {found.framework!r}" if found else describe(source)
        raise SourceError(
            f"source {source.name!r}: expected {wanted.kinds} (framework: {wanted.framework}); {seen}",
            framework=wanted.framework,
        )
    converter = wanted or found
    if not trust:
        refuse_pickle(source)
    if converter is None:
        kinds = "; ".join(load_converter(name).kinds for name in CONVERTERS)
        raise SourceError(f"source {source.name!r} is of no known kind: {describe(source)}; known are {kinds}")
    return converter
