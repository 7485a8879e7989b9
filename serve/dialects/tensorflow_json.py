"""JSON of TensorFlow Serving's REST requests, and what a `:predict` body says of its inputs.

The values say no datatype, so that they can be read only when the signature is known. Numbers alone go straight from
the text to the tensor (`_quick`); all else, `NaN`, text, base64 and what is wrong, goes through Python values.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
import numpy as np

from model_store.datatypes import DTYPES
from model_store.errors import InvalidInput, Unsupported
from model_store.manifest import Signature, TensorSpec
from serve.admission import describe
from serve.inference import InferenceRequest, Tensors
from serve.processors.casting import cast
from serve.tensors import from_nested

NOT_IN_JSON = frozenset(("FP16", "BF16", "UINT16"))
"""Datatypes that the protocol has no JSON for."""

B64 = "b64"

DEFAULT_SIGNATURE = "serving_default"

_NO_JSON_NUMBER = re.compile(rb"NaN|Infinity")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ROWS_OF_OBJECTS = re.compile(rb"\s*\[\s*\{")
_OBJECT = re.compile(rb"\s*\{")
_KINDS: dict[str, tuple[type, ...]] = {"f": (float, int), "i": (int,), "u": (int,), "b": (bool,)}

T = TypeVar("T")


class _Predict(msgspec.Struct):
    signature_name: str | None = None
    instances: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Parsed(msgspec.Struct):
    """As `_Predict`, for texts with numbers that are none of JSON."""

    signature_name: str | None = None
    instances: Any = msgspec.UNSET
    inputs: Any = msgspec.UNSET


_decode_predict = msgspec.json.Decoder(_Predict).decode
_decode_value = msgspec.json.Decoder().decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_objects = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def decode_predict(body: bytes, model: str, version: str | None, label: str | None) -> InferenceRequest:
    """The request in a `:predict` body; its `reply_form` is true where it came row by row (`instances`).

    Raises `InvalidInput` for what is no such body. The inputs are read, and refused, when the signature is known.
    """
    message: _Predict | _Parsed
    try:
        message = _decode_predict(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = read_json(body, _Parsed)
    rows = message.instances is not msgspec.UNSET
    if rows == (message.inputs is not msgspec.UNSET):
        raise InvalidInput(
            "expected either 'instances' or 'inputs' in the body, got " + ("both" if rows else "neither")
        )
    values = message.instances if rows else message.inputs
    return InferenceRequest(
        model,
        version,
        label,
        signature_of(message.signature_name),
        read_inputs=partial(_read, values, rows),
        reply_form=rows,
    )


def read_json(body: bytes, kind: type[T]) -> T:
    """The body as `kind`, the tokens `NaN`, `Infinity` and `-Infinity` among its numbers; raises `InvalidInput`."""
    try:
        if not _NO_JSON_NUMBER.search(body):
            return msgspec.json.decode(body, type=kind)
        value = json.loads(body.decode())
        if _SURROGATE.search(body):
            # Half of a pair is text to Python's reader alone: protobuf and UTF-8 have none of it.
            msgspec.json.encode(value)
        return msgspec.convert(value, kind)
    except RecursionError as error:
        raise InvalidInput("the body is nested too deep") from error
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        raise InvalidInput(f"the body is not the JSON of a request: {error}") from error


def signature_of(name: str | None) -> str | None:
    """A request's signature by the name that clients use: the usual one is the model's default, whatever that is
    called here."""
    return None if name in (None, "", DEFAULT_SIGNATURE) else name


def bytes_of(element: str | Mapping[str, Any]) -> bytes:
    """The bytes of a text, or of `{"b64": text}`, whose padding may be left out and whose lines may be wrapped; raises
    `ValueError`."""
    if isinstance(element, str):
        return element.encode()
    text = "".join(element[B64].split())
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def is_b64(value: Any) -> bool:
    """Whether a JSON value is bytes: an object with the one key `b64`, and a text there."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(B64), str)


def _read(values: Any, rows: bool, signature: Signature) -> Tensors:
    """The inputs that `signature` takes; raises `InvalidInput`, and `Unsupported` for datatypes without a JSON."""
    for spec in signature.inputs:
        if spec.datatype in NOT_IN_JSON:
            raise Unsupported(f"input {spec.name!r}: {spec.datatype} can't be sent as JSON; call the model over gRPC")
    if isinstance(values, msgspec.Raw):
        quick = _quick(signature.inputs, values, rows)
        if quick is not None:
            return quick
        try:
            values = _decode_value(values)
        except RecursionError as error:
            raise InvalidInput("the body is nested too deep") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"the body is not the JSON of a request: {error}") from error
    columns = (_columns_of_rows if rows else _columns)(signature.inputs, values)
    return {spec.name: _tensor(spec, columns[spec.name]) for spec in signature.inputs}


def _quick(specs: tuple[TensorSpec, ...], text: msgspec.Raw, rows: bool) -> Tensors | None:
    """The inputs where all are numbers that fit, else None, to be read by the long way: it tells what is wrong."""
    try:
        if rows and _ROWS_OF_OBJECTS.match(text):
            columns = _quick_columns(specs, text)
        elif not rows and _OBJECT.match(text):
            columns = _decode_object(text)
        elif len(specs) == 1:
            columns = {specs[0].name: text}
        else:
            return None
        inputs = {
            spec.name: from_nested(spec.name, spec.datatype, len(spec.shape), columns[spec.name]) for spec in specs
        }
    except (InvalidInput, KeyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if rows and not all(tensor.shape and len(tensor) for tensor in inputs.values()) else inputs


def _quick_columns(specs: tuple[TensorSpec, ...], text: msgspec.Raw) -> Mapping[str, Any]:
    names = {spec.name for spec in specs}
    rows = _decode_objects(text)
    if any(row.keys() != names for row in rows):
        raise InvalidInput("the keys of a row are not the inputs")
    return {name: b"[%b]" % b",".join([row[name] for row in rows]) for name in names}


def _columns_of_rows(specs: tuple[TensorSpec, ...], rows: Any) -> Mapping[str, Any]:
    """Input -> its values in all rows."""
    if not isinstance(rows, list) or not rows:
        raise InvalidInput(f"expected 'instances' to be a list with at least one instance, got {_shown(rows)}")
    if not isinstance(rows[0], dict) or is_b64(rows[0]):
        return {_only(specs, "'instances' of objects"): rows}
    names = {spec.name for spec in specs}
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != names:
            raise InvalidInput(f"instance {index}: expected an object of {_expected(specs)}; got {_shown(row)}")
    return {name: [row[name] for row in rows] for name in names}


def _columns(specs: tuple[TensorSpec, ...], values: Any) -> Mapping[str, Any]:
    if not isinstance(values, dict) or is_b64(values):
        return {_only(specs, "'inputs' as an object"): values}
    for spec in specs:
        if spec.name not in values:
            raise InvalidInput(f"expected 'inputs' with {_expected(specs)}; got {_shown(values)}", input=spec.name)
    return values


def _only(specs: tuple[TensorSpec, ...], expected: str) -> str:
    if len(specs) != 1:
        raise InvalidInput(f"expected {expected} with {_expected(specs)}; got bare values")
    return specs[0].name


def _tensor(spec: TensorSpec, values: Any) -> np.ndarray:
    array = np.array(values, dtype=object)
    elements = array.ravel().tolist()
    if any(isinstance(element, list) for element in elements):
        raise InvalidInput(f"input {spec.name!r}: expected lists of equal length at each depth", input=spec.name)
    flat = _texts(spec, elements) if spec.datatype == "BYTES" else _numbers(spec, elements)
    return flat.reshape(array.shape)


def _texts(spec: TensorSpec, elements: list[Any]) -> np.ndarray:
    flat = np.empty(len(elements), dtype=object)
    for index, element in enumerate(elements):
        if not isinstance(element, str) and not is_b64(element):
            raise _wrong_kind(spec, element)
        try:
            flat[index] = bytes_of(element)
        except ValueError as error:
            raise InvalidInput(f"input {spec.name!r}: {_shown(element)} is no text, or no base64: {error}") from error
    return flat


def _numbers(spec: TensorSpec, elements: list[Any]) -> np.ndarray:
    dtype = DTYPES[spec.datatype]
    admitted = _KINDS[dtype.kind]
    for element in elements:
        if type(element) not in admitted:
            raise _wrong_kind(spec, element)
    try:
        array = np.array(elements, dtype=np.float64 if dtype.kind == "f" else dtype)
    except OverflowError as error:
        raise InvalidInput(f"input {spec.name!r}: a value does not fit {spec.datatype}: {error}") from error
    return cast(spec.name, array, spec.datatype)


def _wrong_kind(spec: TensorSpec, element: Any) -> InvalidInput:
    return InvalidInput(f"input {spec.name!r}: expected {spec.datatype} values, got {_shown(element)}", input=spec.name)


def _expected(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(map(describe, specs))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object of " + (", ".join(f"{name!r:.40}" for name in list(value)[:10]) or "nothing")
    return "an empty list" if value == [] else "a list" if isinstance(value, list) else f"{value!r:.40}"
