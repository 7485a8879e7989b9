"""Inputs for the parity gate: random rows from the signature, rows of the user's examples, rows that the
converter asks for. What is done with them is `parity.py`'s and `profile.py`'s."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import ml_dtypes
import numpy as np

from converters.base import Arrays, Conversion, ConversionOptions, Range
from model_store.datatypes import DTYPES, is_floating
from model_store.errors import ConfigError, ConversionError, OnegateError, named_line
from model_store.manifest import Signature, TensorSpec

SEEDS = (0, 1, 2)
INNER_SIZES = ((5, 8), (32, 48), (224, 192))
"""Sizes tried for dynamic dimensions other than the batch, one for each seed: a model that was frozen at one
size fails at the other. Convolutions with strides need the larger ones."""
DEFAULT_INTEGERS = (0, 3)
"""Indexes into a vocabulary of unknown size: small ones are safe."""
FAR_OUT = 50.0
"""How many times the usual range a `large` value is."""
WORDS = (b"alpha", b"beta", b"gamma", b"delta", b"")


def dynamic_batch(signature: Signature) -> bool:
    """Whether any input's first dimension may differ between requests."""
    return any(spec.shape[:1] == (-1,) for spec in signature.inputs)


def fixed_batch(signature: Signature) -> int:
    """The batch that a model without a dynamic one takes: its first input's first dimension."""
    return next((spec.shape[0] for spec in signature.inputs if spec.shape), 1)


def batch_near(conversion: Conversion, wanted: int) -> int:
    """The batch to call a conversion's own graph with: `wanted`, unless it computes another one only."""
    if conversion.fixed_batch is not None:
        return conversion.fixed_batch
    return wanted if dynamic_batch(conversion.signature) else fixed_batch(conversion.signature)


def has_inner_dynamic(signature: Signature) -> bool:
    """Whether a dimension other than the batch may differ between requests."""
    return any(-1 in spec.shape[1:] for spec in signature.inputs)


@dataclass(frozen=True)
class Samples:
    """Draws inputs of a signature, the same ones for the same arguments."""

    signature: Signature
    ranges: Mapping[str, Range] = field(default_factory=dict)
    probes: Arrays = field(default_factory=dict)
    examples: Arrays = field(default_factory=dict)
    choices: Arrays = field(default_factory=dict)
    inner_sizes: tuple[int, ...] = (5, 8)
    """For dynamic dimensions other than the batch, one for each seed."""

    def draw(self, batch: int, seed: int, *, inner_size: int | None = None) -> dict[str, np.ndarray]:
        """Inputs of `batch` rows. Rows alternate between random ones, examples and probes, starting
        elsewhere with each seed; dynamic dimensions other than the batch get `inner_size`, by default that
        of the seed, or the size that the examples or probes have there."""
        inner_size = inner_size or self.inner_sizes[seed % len(self.inner_sizes)]
        generator = np.random.default_rng((seed, batch, inner_size))
        pools: list[Arrays] = [{}, *(pool for pool in (self.examples, self.probes) if pool)]
        kinds = [(row + seed) % len(pools) for row in range(batch)]
        return {
            spec.name: self._input(spec, generator, [pools[kind] for kind in kinds], seed, inner_size)
            for spec in self.signature.inputs
        }

    def edge(self, kind: str, batch: int) -> dict[str, np.ndarray] | None:
        """Inputs of `batch` unusual rows: `zeros`, `large` (finite, far outside of the usual range) or `missing` (NaN
        in every second row). None where the signature has no place for them. What has `choices` stays among them."""
        inputs = self.draw(batch, 0)
        unusual = {
            spec.name: edge
            for spec in self.signature.inputs
            if spec.name not in self.choices and (edge := self._edge(kind, spec, inputs[spec.name])) is not None
        }
        return inputs | unusual if unusual else None

    def _edge(self, kind: str, spec: TensorSpec, usual: np.ndarray) -> np.ndarray | None:
        low, high = self.ranges.get(spec.name, (None, None))
        if kind == "zeros":
            if usual.dtype.kind == "O":
                return None
            zeros = np.zeros_like(usual)
            return zeros if low is None or high is None else np.asarray(np.clip(zeros, low, high), dtype=usual.dtype)
        if not is_floating(usual.dtype) or not usual.ndim:
            return None
        if kind == "missing":
            holes = usual.copy()
            holes[::2] = np.nan
            return holes
        span = 1.0 if low is None or high is None else np.asarray(high, float) - np.asarray(low, float)
        limit = float(ml_dtypes.finfo(usual.dtype).max) / 64  # type: ignore[no-untyped-call]
        far = usual.astype(np.float64) * FAR_OUT * np.maximum(span, 1)
        return np.asarray(np.clip(far, -limit, limit)).astype(usual.dtype)

    def _input(
        self, spec: TensorSpec, generator: np.random.Generator, pools: list[Arrays], seed: int, inner_size: int
    ) -> np.ndarray:
        given = self.examples.get(spec.name, self.probes.get(spec.name))
        if given is not None and not spec.shape:
            return given
        known = given.shape[1:] if given is not None else (inner_size,) * (len(spec.shape) - 1)
        inner = [size if size >= 0 else known[axis] for axis, size in enumerate(spec.shape[1:])]
        shape = [len(pools) if size == -1 else size for size in spec.shape[:1]] + inner
        values = self._random(spec, generator, tuple(shape))
        for row in range(shape[0] if shape else 0):
            rows = pools[row % len(pools)].get(spec.name)
            if rows is not None:
                values[row] = rows[(row + seed * 7) % len(rows)]
        return values

    def _random(self, spec: TensorSpec, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        dtype = DTYPES[spec.datatype]
        low, high = self.ranges.get(spec.name, (None, None))
        if spec.name in self.choices:
            return _chosen(np.asarray(self.choices[spec.name], dtype=dtype), generator, shape)
        if dtype.kind == "O":
            words = np.empty(len(WORDS), dtype=object)
            words[:] = WORDS
            return np.asarray(generator.choice(words, shape), dtype=object)
        if dtype.kind == "b":
            return np.asarray(generator.random(shape) < 0.5)
        if dtype.kind in "iu":
            low, high = DEFAULT_INTEGERS if low is None or high is None else (low, high)
            values = generator.integers(np.asarray(low, int), np.asarray(high, int), shape, endpoint=True)
            return np.asarray(values).astype(dtype)
        if low is None or high is None:
            return np.asarray(generator.standard_normal(shape)).astype(dtype)
        return np.asarray(generator.uniform(low, high, shape)).astype(dtype)


def _chosen(values: np.ndarray, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Any of `values[values]`, or for each column one of its own from `values[values, columns]`."""
    if values.ndim == 1:
        return np.asarray(generator.choice(values, shape), dtype=values.dtype)
    return np.take_along_axis(values, generator.integers(0, len(values), shape), axis=0)


def make_samples(conversion: Conversion, options: ConversionOptions) -> Samples:
    """The gate's inputs for a conversion, at sizes of dynamic dimensions that its own framework accepts.

    Raises `ConfigError` when the examples do not fit, `ConversionError` when no size is accepted.
    """
    examples = _examples(conversion, options)
    refusal: Exception | None = None
    for sizes in INNER_SIZES:
        samples = Samples(
            conversion.signature, conversion.ranges, conversion.probes, examples, conversion.choices, sizes
        )
        if not has_inner_dynamic(conversion.signature):
            return samples
        try:
            for seed in SEEDS[: len(sizes)]:
                conversion.reference(samples.draw(1, seed))
            return samples
        except OnegateError:
            raise
        except Exception as error:  # a framework's refusal of a size has no type of its own
            refusal = error
    raise ConversionError(
        f"{conversion.reference_name} accepts no size tried for the dynamic dimensions "
        f"({named_line(refusal)}); give `examples:` with real inputs"
    )


def _examples(conversion: Conversion, options: ConversionOptions) -> Arrays:
    """The user's real inputs; those for calibration where there are no others, as int8 is only good in their range."""
    for key in ("examples", "calibration"):
        if path := getattr(options, key):
            return load_examples(path, conversion.signature, key)
    return {}


def gate_batches(signature: Signature, largest_batch: int) -> tuple[int, ...]:
    """1, 3 and the largest; the only one that there is when the model fixes its batch."""
    if not dynamic_batch(signature):
        return (fixed_batch(signature),)
    return tuple(sorted({1, 3, largest_batch}))


def load_examples(path: str, signature: Signature, key: str = "examples") -> dict[str, np.ndarray]:
    """Rows of an `.npz`, checked against the signature and cast to its datatypes; `key` of the config named it.

    Raises `ConfigError` when the file can't be read, names no input, or an array does not fit.
    """
    try:
        with np.load(Path(path), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{key}: {path!r} is not an .npz of plain arrays: {error}") from error
    specs = {spec.name: spec for spec in signature.inputs}
    unknown = sorted(set(arrays) - set(specs))
    if unknown or not arrays:
        raise ConfigError(
            f"{key}: {path!r} holds {', '.join(sorted(arrays)) or 'nothing'}; the model's inputs are {', '.join(specs)}"
        )
    return {name: _fit(array, specs[name], f"{key}: {path!r}") for name, array in arrays.items()}


def _fit(array: np.ndarray, spec: TensorSpec, where: str) -> np.ndarray:
    fits = (
        array.ndim == len(spec.shape)
        and array.shape[:1] != (0,)
        and all(want in (-1, got) for want, got in zip(spec.shape[1:], array.shape[1:], strict=True))
    )
    if not fits:
        raise ConfigError(
            f"{where}: input {spec.name!r}: expected {spec.datatype}{list(spec.shape)}, "
            f"got {array.dtype}{list(array.shape)}"
        )
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "O":
        rows = np.empty(array.shape, dtype=object)
        rows[...] = np.char.encode(array.astype(str), "utf-8").astype(object)
        return rows
    return array.astype(dtype)
