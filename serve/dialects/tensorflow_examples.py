"""Examples of TensorFlow, as classify and regress calls carry them, to the inputs of any model.

A feature is a flat list of values by name; the input of that name takes it as one row. A model whose only input is a
text a row, and that no feature is named after, gets each example as its bytes: it parses them itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from model_store.errors import InvalidInput
from model_store.manifest import Signature, TensorSpec
from serve.admission import describe
from serve.dialects.tensorflow_json import bytes_of, is_b64, read_json
from serve.inference import Tensors
from serve.processors.casting import cast
from serve.protocols.tensorflow_serving import Example, Input

Features = Mapping[str, np.ndarray]


class ExamplesBody(msgspec.Struct):
    """The JSON of a `:classify` or `:regress` call."""

    examples: list[dict[str, Any]]
    context: dict[str, Any] | None = None
    signature_name: str | None = None


def decode_examples(body: bytes) -> tuple[Any, str | None]:
    """The `Input` message that the JSON stands for, and the signature's name; raises `InvalidInput`.

    Whole numbers and booleans become int64, numbers with a fraction float, text and base64 bytes.
    """
    message = read_json(body, ExamplesBody)
    context = message.context or {}
    given = Input()
    listed = given.example_list_with_context if context else given.example_list
    for index, example in enumerate(message.examples):
        repeated = context.keys() & example.keys()
        if repeated:
            raise InvalidInput(f"example {index}: feature {min(repeated)!r:.60} is in 'context' already")
        _write_features(example, listed.examples.add())
    if context:
        _write_features(context, listed.context)
    return given, message.signature_name


def reader_of(given: Any) -> Callable[[Signature], Tensors]:
    """What reads the inputs of a signature from an `Input` message; raises `InvalidInput` for one without examples.

    The reader raises `InvalidInput` where an input has no feature, or one with another number of values or of another
    kind.
    """
    kind = given.WhichOneof("kind")
    listed = getattr(given, kind) if kind else given.example_list
    if not listed.examples:
        raise InvalidInput("expected an input with at least one example, got none")
    context = listed.context if kind == "example_list_with_context" else None

    def read(signature: Signature) -> Tensors:
        if _takes_examples(signature, listed.examples):
            return {signature.inputs[0].name: _serialised(listed.examples, context)}
        shared = _features(context) if context is not None else {}
        examples = [{**shared, **_features(example)} for example in listed.examples]
        return {spec.name: _rows(spec, examples) for spec in signature.inputs}

    return read


def _write_features(values: Mapping[str, Any], example: Any) -> None:
    for name, value in values.items():
        _write_feature(name, value if isinstance(value, list) else [value], example.features.feature[name])


def _write_feature(name: str, values: list[Any], feature: Any) -> None:
    kinds = {dict: "bytes", str: "bytes", int: "int64", bool: "int64", float: "float"}
    found = {kinds.get(type(value)) for value in values}
    kind = found.pop() if len(found) == 1 else None
    if not values:
        return
    if kind is None:
        raise InvalidInput(
            f"feature {name!r:.60}: expected a value, or a flat list of whole numbers, decimals, or texts"
        )
    try:
        if kind == "bytes":
            if not all(isinstance(value, str) or is_b64(value) for value in values):
                raise ValueError("an object is a value only as {'b64': text}")
            feature.bytes_list.value.extend([bytes_of(value) for value in values])
        elif kind == "int64":
            feature.int64_list.value.extend(map(int, values))
        else:
            # The message alone would make infinity of what is too large.
            feature.float_list.value.extend(cast(name, np.array(values), "FP32").tolist())
    except ValueError as error:
        raise InvalidInput(f"feature {name!r:.60}: {error}") from error


def _features(example: Any) -> dict[str, np.ndarray]:
    """Name -> values, in the numpy type of their kind."""
    found = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind == "float_list":
            found[name] = np.array(feature.float_list.value, dtype=np.float32)
        elif kind == "int64_list":
            found[name] = np.array(feature.int64_list.value, dtype=np.int64)
        elif kind == "bytes_list":
            values = np.empty(len(feature.bytes_list.value), dtype=object)
            values[:] = list(feature.bytes_list.value)
            found[name] = values
    return found


def _rows(spec: TensorSpec, examples: Iterable[Features]) -> np.ndarray:
    rows = []
    for index, example in enumerate(examples):
        if spec.name not in example:
            got = ", ".join(f"{name!r:.40}" for name in list(example)[:10]) or "none"
            raise InvalidInput(f"example {index}: expected a feature for {describe(spec)}; got {got}", input=spec.name)
        values = example[spec.name]
        rows.append(cast(spec.name, values, spec.datatype).reshape(_row_shape(spec, values.size, index)))
        if rows[-1].shape != rows[0].shape:
            raise InvalidInput(
                f"example {index}: feature {spec.name!r} has {values.size} values, the others {rows[0].size}",
                input=spec.name,
            )
    return np.stack(rows)


def _row_shape(spec: TensorSpec, count: int, index: int) -> list[int]:
    """The shape of one row of `count` values; a free size is what they leave to it."""
    if not spec.shape:
        raise InvalidInput(f"the model takes no rows, so no examples: {describe(spec)}", input=spec.name)
    row = list(spec.shape[1:])
    known = math.prod(size for size in row if size >= 0)
    free = row.count(-1)
    if free > 1 or (known and count % known) or (count != known and not free) or (free and not known):
        raise InvalidInput(f"example {index}: {count} values are no row of {describe(spec)}", input=spec.name)
    return [count // known if size < 0 else size for size in row]


def _takes_examples(signature: Signature, examples: Iterable[Any]) -> bool:
    if len(signature.inputs) != 1:
        return False
    spec = signature.inputs[0]
    if spec.datatype != "BYTES" or len(spec.shape) != 1:
        return False
    return not any(spec.name in example.features.feature for example in examples)


def _serialised(examples: Any, context: Any) -> np.ndarray:
    rows = np.empty(len(examples), dtype=object)
    for index, example in enumerate(examples):
        whole = Example()
        if context is not None:
            whole.MergeFrom(context)
        whole.MergeFrom(example)
        rows[index] = whole.SerializeToString(deterministic=True)
    return rows
