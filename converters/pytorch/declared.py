"""Inputs of sources that carry no shapes, as the user declares them, and tensors to call such a source with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from converters.base import Arrays, ConversionOptions, Range
from converters.pytorch.arguments import NUMBERS, Parameter
from converters.samples import INNER_SIZES, Samples, load_examples
from model_store.datatypes import DATATYPES
from model_store.errors import ConfigError, ConversionError, first_line
from model_store.manifest import Signature, TensorSpec

_USUAL = {"int": ("INT64", ""), "bool": ("BOOL", ""), "float": ("FP64", "")}


def declared_inputs(options: ConversionOptions, what: str, parameters: Sequence[Parameter]) -> tuple[TensorSpec, ...]:
    """The inputs that the config declares, or those of its examples with the first dimension free.

    Raises `ConfigError` that says what to write where there are neither; `what` names the source in it.
    """
    if options.inputs is not None:
        return options.inputs
    if options.examples is not None:
        return _inputs_of_examples(options.examples)
    takes = ", ".join(map(str, parameters)) or "nothing"
    config, command = [], []
    for name, kind in (leaf for each in parameters if each.required for leaf in each.leaves()):
        datatype, dims = _USUAL.get(kind, ("FP32", "-1, ..."))
        config.append(f"{{name: {name}, datatype: {datatype}, shape: [{dims}]}}")
        command.append(f"--input {name}:{datatype}:{dims.replace(' ', '')}")
    raise ConfigError(
        f"{what} carries no shapes of its inputs; forward takes {takes}: write `inputs: [{', '.join(config)}]` "
        f"in the config, or `{' '.join(command)}`, with -1 for a dynamic dimension, or give `examples:` "
        "with real inputs"
    )


def _inputs_of_examples(path: str) -> tuple[TensorSpec, ...]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"examples: {path!r} is not an .npz of plain arrays: {error}") from error
    for name, array in arrays.items():
        if array.dtype not in DATATYPES:
            raise ConfigError(f"examples: {path!r}: {name!r} has elements of type {array.dtype}, which no tensor has")
    return tuple(
        TensorSpec(name, DATATYPES[array.dtype], (-1, *array.shape[1:]) if array.shape else ())
        for name, array in arrays.items()
    )


def scalar_choices(options: ConversionOptions, inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """Values of inputs without dimensions that the examples hold: such inputs have no rows to draw from."""
    if options.examples is None:
        return {}
    examples = load_examples(options.examples, Signature(tuple(inputs), ()))
    return {spec.name: np.ravel(examples[spec.name]) for spec in inputs if not spec.shape and spec.name in examples}


class Draws:
    """Inputs of a declared signature at sizes that the source accepts."""

    def __init__(self, inputs: Sequence[TensorSpec], options: ConversionOptions, ranges: Mapping[str, Range]) -> None:
        self.inputs = tuple(inputs)
        self.choices = scalar_choices(options, inputs)
        signature = Signature(self.inputs, ())
        examples = load_examples(options.examples, signature) if options.examples else {}
        self._samples = Samples(signature, ranges, {}, examples, self.choices)
        self.sizes: tuple[int, ...] = INNER_SIZES[0]

    def fit(self, call: Callable[[Arrays], Any], who: str) -> None:
        """Finds sizes of the inner dynamic dimensions that `call` accepts; raises `ConversionError` when none is."""
        refusal: Exception | None = None
        for sizes in INNER_SIZES:
            self.sizes = sizes
            try:
                for batch, size in zip((2, 3), sizes, strict=True):
                    call(self.draw(batch, size))
                return
            except Exception as error:  # a framework's refusal has no type of its own
                refusal = refusal or error
        declared = ", ".join(f"{spec.name}: {spec.datatype}{list(spec.shape)}" for spec in self.inputs)
        raise ConversionError(
            f"{who} refuses inputs as declared ({declared}): {first_line(refusal)}; {self._advice(call)}"
        ) from refusal

    def _advice(self, call: Callable[[Arrays], Any]) -> str:
        for batch in (1, 2, 4, 8):
            with contextlib.suppress(Exception):
                call(self.draw(batch, self.sizes[0]))
                return (
                    f"it takes a batch of {batch}, which a trace keeps for good: declare {batch} instead of -1 as the "
                    "first dimension, or trace it so that no size is a constant"
                )
        return "declare other shapes or datatypes, or give `examples:` with real inputs"

    def draw(self, batch: int, size: int) -> dict[str, np.ndarray]:
        """Inputs of `batch` rows, with `size` in other dynamic dimensions."""
        return self._samples.draw(batch, 0, inner_size=size)


def measured_outputs(call: Callable[[Arrays], dict[str, np.ndarray]], draws: Draws) -> tuple[TensorSpec, ...]:
    """The outputs of a source, found by calling it at two batches and two sizes: what differs is dynamic."""
    first, second = call(draws.draw(2, draws.sizes[0])), call(draws.draw(3, draws.sizes[-1]))
    specs = []
    for name, array in first.items():
        other = second.get(name)
        if other is None or other.ndim != array.ndim:
            raise ConversionError(f"output {name!r} is there, or has its rank, for some inputs only")
        shape = tuple(size if size == again else -1 for size, again in zip(array.shape, other.shape, strict=True))
        specs.append(TensorSpec(name, DATATYPES[array.dtype], shape))
    return tuple(specs)


def check_numbers(parameters: Sequence[Parameter], inputs: Sequence[TensorSpec]) -> None:
    """Raises `ConfigError` when a parameter that is a number is declared with dimensions."""
    kinds = {each.name: each.kind for each in parameters}
    for spec in inputs:
        if kinds.get(spec.name) in NUMBERS and spec.shape:
            raise ConfigError(
                f"inputs: {spec.name!r} is {kinds[spec.name]} to the model; declare it without dimensions, as shape []"
            )
