"""Inference bodies of Open Inference over HTTP: the JSON request, and binary tensors behind it.

Not the protocol's own but decided here: of a key that comes twice the last one counts; null stands for a member or
parameter that is not there, as clients write it that dump whole objects; as JSON input NaN and infinities are refused,
since the binary form carries them exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Generic, TypeVar

import msgspec
import numpy as np

from model_store.datatypes import DTYPES
from model_store.errors import InvalidInput, Unsupported
from serve import tensors
from serve.dialects.base import HttpRequest
from serve.dialects.open_inference import NO_PARAMETERS, NO_SHARED_MEMORY, class_count, is_number, read_parameters
from serve.inference import InferenceRequest, Payload, Tensors

HEADER_LENGTH = "inference-header-content-length"

_Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Parameters = dict[str, str | int | float | bool | None]

_REGION = "shared_memory_region"


class _Input(msgspec.Struct):
    name: str
    shape: list[_Size]
    datatype: str
    parameters: _Parameters | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _ParsedInput(msgspec.Struct, tag_field="datatype"):
    """As `_Input`, of one datatype, with its values: half of the time of a request goes into reading these."""

    datatype: ClassVar[str]
    name: str
    shape: list[_Size]
    parameters: _Parameters | None = None
    data: Any = msgspec.UNSET


def _parsed_input(datatype: str) -> Any:
    kind: Any = tensors.PARSED_TYPES.get(datatype, msgspec.Raw) | msgspec.UnsetType
    return msgspec.defstruct(
        f"_{datatype}",
        [("data", kind, msgspec.UNSET)],
        bases=(_ParsedInput,),
        tag=datatype,
        namespace={"datatype": datatype},
    )


class _Output(msgspec.Struct):
    name: str
    parameters: _Parameters | None = None


_AnyInput = TypeVar("_AnyInput", _Input, _ParsedInput)


class _Request(msgspec.Struct, Generic[_AnyInput]):
    inputs: list[_AnyInput]
    outputs: list[_Output] | None = None
    id: str | None = None
    parameters: _Parameters | None = None


class ReplyForm(msgspec.Struct, frozen=True):
    """How the caller wants the outputs: binary those in `named`, else `binary`; as so many classes those in `classes`.
    Kept between decode and encode."""

    binary: bool = False
    named: Mapping[str, bool] = {}
    classes: Mapping[str, int] = {}


ALL_JSON = ReplyForm()
ALL_BINARY = ReplyForm(binary=True)

_NOTHING = memoryview(b"")
_NULL = msgspec.Raw(b"null")

_decode_texts = msgspec.json.Decoder(_Request[_Input]).decode
_decode_parsed: Callable[[bytes | memoryview], _Request[_ParsedInput]]
_decode_parsed = msgspec.json.Decoder(_Request[reduce(or_, map(_parsed_input, DTYPES))]).decode  # type: ignore[misc]


def decode_inference(request: HttpRequest, model: str, version: str | None, label: str | None) -> InferenceRequest:
    """The inference request in a body; numbers of binary tensors are views on it.

    Raises `InvalidInput`, and `Unsupported` for what the protocol has and this server hasn't.
    """
    length = request.header(HEADER_LENGTH)
    header, binary = (request.body, _NOTHING) if length is None else _split_body(request.content, length)
    if not header and length is not None:
        payload = Payload(request.body, "application/octet-stream")
        return InferenceRequest(model, version, label, payload=payload, reply_form=ALL_BINARY)
    message: _Request[_Input] | _Request[_ParsedInput]
    try:
        message = _decode_parsed(header)
        inputs = _decode_inputs(message.inputs, binary, _from_parsed)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        # The second, longer way takes what is unusual, and words what is wrong.
        message = _decode_header(header)
        inputs = _decode_inputs(message.inputs, binary, _from_text)
    if message.outputs is None and message.parameters is None:
        return InferenceRequest(model, version, label, id=message.id or "", inputs=inputs, reply_form=ALL_JSON)
    asked = read_parameters(_own(message.parameters)) if message.parameters else NO_PARAMETERS
    return InferenceRequest(
        model,
        version,
        label,
        signature=asked.signature,
        id=message.id or "",
        inputs=inputs,
        wanted_outputs=tuple([output.name for output in message.outputs]) if message.outputs else (),
        parameters=asked.others,
        priority=asked.priority,
        deadline=asked.deadline,
        reply_form=_reply_form(message),
    )


def _decode_header(header: bytes | memoryview) -> _Request[_Input]:
    try:
        return _decode_texts(header)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the body is not a v2 inference request: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8 JSON: {error.reason}") from error
    except RecursionError as error:
        raise InvalidInput("the body is not a v2 inference request: it is nested too deep") from error


def _split_body(body: bytes | memoryview, length: str) -> tuple[memoryview, memoryview]:
    if not is_number(length) or int(length) > len(body):
        raise InvalidInput(f"{HEADER_LENGTH} must be 0 to {len(body)}, the body's length; got {length[:40]!r}")
    view = memoryview(body)
    return view[: int(length)], view[int(length) :]


def tensors_begin(request: HttpRequest) -> int:
    """Where in the body of `request` the binary tensors begin, as its headers say; 0 where none do."""
    length = request.header(HEADER_LENGTH) or ""
    return int(length) if is_number(length) else 0


def _decode_inputs(
    messages: list[_AnyInput], binary: memoryview, decode_json: Callable[[_AnyInput], np.ndarray]
) -> Tensors:
    inputs: Tensors = {}
    position = 0
    for message in messages:
        if message.name in inputs:
            raise InvalidInput(f"input {message.name!r} appears twice")
        if not message.parameters:
            inputs[message.name] = decode_json(message)
            continue
        if message.parameters.get(_REGION) is not None:
            raise Unsupported(f"input {message.name!r}: {NO_SHARED_MEMORY}")
        size: Any = message.parameters.get("binary_data_size")
        if size is None:
            inputs[message.name] = decode_json(message)
            continue
        inputs[message.name] = _decode_binary_input(message, size, binary[position:])
        position += size
    if position != len(binary):
        raise InvalidInput(f"the binary tensors take {position} bytes, {len(binary)} follow the JSON part")
    return inputs


def _from_parsed(message: _ParsedInput) -> np.ndarray:
    if type(message.data) is not list:
        raise ValueError("no values")
    return tensors.from_parsed(message.datatype, message.shape, message.data)


def _from_text(message: _Input) -> np.ndarray:
    if message.data is msgspec.UNSET:
        raise InvalidInput(f"input {message.name!r} has neither 'data' nor the parameter 'binary_data_size'")
    return tensors.from_json(message.name, message.datatype, message.shape, message.data)


def _decode_binary_input(message: _Input | _ParsedInput, size: Any, rest: memoryview) -> np.ndarray:
    if message.data is not msgspec.UNSET and message.data != _NULL:
        raise InvalidInput(f"input {message.name!r} has both 'data' and 'binary_data_size'")
    if type(size) is not int or size < 0 or size > len(rest):
        raise InvalidInput(
            f"input {message.name!r}: 'binary_data_size' must be 0 to {len(rest)}, the bytes left; got {size!r:.40}"
        )
    return tensors.from_raw(message.name, message.datatype, message.shape, rest[:size])


def _reply_form(message: _Request[Any]) -> ReplyForm:
    parameters = message.parameters
    binary = _switch("binary_data_output", parameters) if parameters else None
    named: dict[str, bool] = {}
    classes: dict[str, int] = {}
    for output in message.outputs or ():
        if not output.parameters:
            continue
        if output.parameters.get(_REGION) is not None:
            raise Unsupported(f"output {output.name!r}: {NO_SHARED_MEMORY}")
        own_binary = _switch("binary_data", output.parameters)
        if own_binary is not None:
            named[output.name] = own_binary
        if count := class_count(_own(output.parameters)):
            classes[output.name] = count
    if not named and not classes:
        return ALL_BINARY if binary else ALL_JSON
    return ReplyForm(bool(binary), named, classes)


def _switch(key: str, parameters: Mapping[str, Any]) -> bool | None:
    value = parameters.get(key)
    if value is not None and not isinstance(value, bool):
        raise InvalidInput(f"parameter {key!r} is true or false, got {value!r:.40}")
    return value


_OF_THE_FORM = frozenset(("binary_data_output",))


def _own(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What is really given, and says something else than how the reply is written."""
    return {key: value for key, value in parameters.items() if value is not None and key not in _OF_THE_FORM}
