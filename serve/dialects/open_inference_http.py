"""Open Inference Protocol (KServe v2) over HTTP, with the binary tensor extension.

Specification: https://github.com/kserve/open-inference-protocol (REST), and Triton's extension_binary_data. Not the
protocol's own but decided here: JSON answers carry NaN and infinities as the bare tokens `NaN`, `Infinity` and
`-Infinity`, which Python's and tritonclient's parsers read; as JSON input they are refused, since the binary form
carries them exactly.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import numpy as np

from model_store.errors import InvalidInput, ModelNotReady, OnegateError
from model_store.manifest import Signature, TensorSpec
from serve import tensors
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute
from serve.dialects.open_inference import HTTP_EXTENSIONS, SERVER_NAME, SIGNATURE, is_number, platform_of
from serve.errors import status_of
from serve.inference import (
    Answer,
    InferenceRequest,
    InferenceResponse,
    ModelDescription,
    ModelQuery,
    Payload,
    Query,
    ServerDescription,
    ServerQuery,
    Tensors,
    output_tensors,
)
from serve.version import VERSION

HEADER_LENGTH = "inference-header-content-length"
_JSON = [("content-type", "application/json")]
_Size = Annotated[int, msgspec.Meta(ge=0)]


class _Input(msgspec.Struct):
    name: str
    shape: list[_Size]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct):
    inputs: list[_Input]
    outputs: list[_Output] | None = None
    id: str = ""
    parameters: dict[str, Any] | None = None


class _Answered(msgspec.Struct, omit_defaults=True):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class _Response(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[_Answered]
    id: str = ""


_decode_request = msgspec.json.Decoder(_Request).decode
_encode_json = msgspec.json.Encoder().encode


class _BinaryWish(msgspec.Struct):
    """Which outputs the caller wants as binary: those in `named`, else `default`. Kept between decode and encode."""

    default: bool = False
    named: dict[str, bool] = {}


class OpenInferenceHttp:
    """The dialect; it has no state."""

    segments: tuple[str, ...] = ("v2",)

    def decode(self, request: HttpRequest) -> Query:
        """The query in `request`; raises `NoSuchRoute` for other paths and `InvalidInput` for a bad body."""
        parts = request.path.split("/")
        if len(parts) > 3 and parts[2] == "models":
            return _decode_model_call(request, parts)
        rest = "/".join(parts[2:]).rstrip("/")
        if rest in ("", "health/live", "health/ready"):
            _expect(request, "GET")
            return ServerQuery()
        raise NoSuchRoute("Not Found")

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """The reply that carries `answer`."""
        if isinstance(answer, InferenceResponse):
            assert isinstance(query, InferenceRequest)
            assert isinstance(query.reply_form, _BinaryWish)
            return _encode_response(answer, query.reply_form)
        if isinstance(answer, ModelDescription):
            return _encode_model(request, answer)
        assert isinstance(answer, ServerDescription)
        return _encode_server(request, answer)

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """`{"error": text}` under the kind's status; 400 for a model that is not ready on its readiness path."""
        status = error.status if isinstance(error, NoSuchRoute) else status_of(error).http
        if isinstance(error, ModelNotReady) and request.path.endswith("/ready"):
            status = 400
        return HttpReply(status, _encode_json({"error": error.message}), _JSON)


_JSON_ONLY = _BinaryWish()
_BINARY_ONLY = _BinaryWish(default=True)


def _expect(request: HttpRequest, method: str) -> None:
    if request.method != method:
        raise NoSuchRoute("Method Not Allowed", status=405)


def _decode_model_call(request: HttpRequest, parts: list[str]) -> Query:
    model, rest = parts[3], parts[4:]
    version = None
    if len(rest) > 1 and rest[0] == "versions":
        version = rest[1]
        rest = rest[2:]
    if rest == ["infer"]:
        _expect(request, "POST")
        return _decode_inference(request, model, version)
    if rest in ([], [""], ["ready"]):
        _expect(request, "GET")
        return ModelQuery(model, version)
    raise NoSuchRoute("Not Found")


def _decode_inference(request: HttpRequest, model: str, version: str | None) -> InferenceRequest:
    header, binary = _split_body(request)
    if not header and request.header(HEADER_LENGTH) is not None:
        payload = Payload(request.body, "application/octet-stream")
        return InferenceRequest(model, version, payload=payload, reply_form=_BINARY_ONLY)
    try:
        message = _decode_request(header)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the body is not a v2 inference request: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8 JSON: {error.reason}") from error
    inputs, position = _decode_inputs(message.inputs, binary)
    if position != len(binary):
        raise InvalidInput(f"the binary tensors take {position} bytes, {len(binary)} follow the JSON part")
    return InferenceRequest(
        model,
        version,
        signature=_signature(message.parameters),
        id=message.id,
        inputs=inputs,
        wanted_outputs=tuple(output.name for output in message.outputs) if message.outputs else (),
        reply_form=_binary_wish(message),
    )


def _signature(parameters: dict[str, Any] | None) -> str | None:
    name = parameters.get(SIGNATURE) if parameters else None
    if name is not None and not isinstance(name, str):
        raise InvalidInput(f"parameter {SIGNATURE!r} is the name of a signature, got {name!r:.40}")
    return name


def _split_body(request: HttpRequest) -> tuple[bytes | memoryview, memoryview]:
    body = request.body
    length = request.header(HEADER_LENGTH)
    if length is None:
        return body, memoryview(b"")
    if not is_number(length) or int(length) > len(body):
        raise InvalidInput(f"{HEADER_LENGTH} must be 0 to {len(body)}, the body's length; got {length[:40]!r}")
    view = memoryview(body)
    return view[: int(length)], view[int(length) :]


def _decode_inputs(messages: list[_Input], binary: memoryview) -> tuple[Tensors, int]:
    inputs: Tensors = {}
    position = 0
    for message in messages:
        if message.name in inputs:
            raise InvalidInput(f"input {message.name!r} appears twice")
        size = message.parameters.get("binary_data_size") if message.parameters else None
        if size is None:
            inputs[message.name] = _decode_json_input(message)
            continue
        inputs[message.name] = _decode_binary_input(message, size, binary[position:])
        position += size
    return inputs, position


def _decode_json_input(message: _Input) -> np.ndarray:
    if message.data is msgspec.UNSET:
        raise InvalidInput(f"input {message.name!r} has neither 'data' nor the parameter 'binary_data_size'")
    return tensors.from_json(message.name, message.datatype, message.shape, message.data)


def _decode_binary_input(message: _Input, size: Any, rest: memoryview) -> np.ndarray:
    if message.data is not msgspec.UNSET:
        raise InvalidInput(f"input {message.name!r} has both 'data' and 'binary_data_size'")
    if type(size) is not int or size < 0 or size > len(rest):
        raise InvalidInput(
            f"input {message.name!r}: 'binary_data_size' must be 0 to {len(rest)}, the bytes left; got {size!r:.40}"
        )
    return tensors.from_raw(message.name, message.datatype, message.shape, rest[:size])


def _binary_wish(message: _Request) -> _BinaryWish:
    default = bool(message.parameters.get("binary_data_output")) if message.parameters else False
    named = {
        output.name: bool(output.parameters["binary_data"])
        for output in message.outputs or ()
        if output.parameters and "binary_data" in output.parameters
    }
    return _BinaryWish(default, named) if default or named else _JSON_ONLY


def _encode_response(response: InferenceResponse, wish: _BinaryWish) -> HttpReply:
    outputs = []
    binary: list[bytes] = []
    for name, tensor in output_tensors(response).items():
        answered = _Answered(name, tensors.datatype_of(tensor), list(tensor.shape))
        if wish.named.get(name, wish.default) or answered.datatype in ("FP16", "BF16"):
            binary.append(tensors.to_raw(tensor))
            answered.parameters = {"binary_data_size": len(binary[-1])}
        else:
            answered.data = tensors.to_json_values(tensor)
        outputs.append(answered)
    header = _encode_header(_Response(response.model, response.version, outputs, response.id))
    if not binary:
        return HttpReply(200, header, _JSON)
    headers = [("content-type", "application/octet-stream"), (HEADER_LENGTH, str(len(header)))]
    return HttpReply(200, b"".join((header, *binary)), headers)


def _encode_header(message: _Response) -> bytes:
    """The JSON part. msgspec writes NaN and infinities as null, which would be another answer; to look for that
    afterwards is cheaper than to look at every number before."""
    header = _encode_json(message)
    return json.dumps(msgspec.to_builtins(message)).encode() if b"null" in header else header


def _encode_model(request: HttpRequest, answer: ModelDescription) -> HttpReply:
    manifest = answer.manifest
    if request.path.endswith("/ready"):
        return HttpReply(200, _encode_json({"name": manifest.name, "ready": True}), _JSON)
    body = {
        "name": manifest.name,
        "versions": answer.versions,
        "platform": platform_of(manifest.runtime),
        **_signature_metadata(manifest.signatures[manifest.default_signature]),
    }
    if len(manifest.signatures) > 1:
        body["signatures"] = {name: _signature_metadata(each) for name, each in manifest.signatures.items()}
    return HttpReply(200, _encode_json(body), _JSON)


def _signature_metadata(signature: Signature) -> dict[str, Any]:
    return {
        "inputs": [_tensor_metadata(spec) for spec in signature.inputs],
        "outputs": [_tensor_metadata(spec) for spec in signature.outputs],
    }


def _tensor_metadata(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _encode_server(request: HttpRequest, answer: ServerDescription) -> HttpReply:
    path = request.path.rstrip("/")
    if path.endswith("/live"):
        return HttpReply(200, b'{"live":true}', _JSON)
    if path.endswith("/ready"):
        return HttpReply(200 if answer.ready else 503, _encode_json({"ready": answer.ready}), _JSON)
    return HttpReply(200, _encode_json({"name": SERVER_NAME, "version": VERSION, "extensions": HTTP_EXTENSIONS}), _JSON)
