"""Open Inference over HTTP from the caller's side, with binary tensors, and `/predict` for raw bodies: questions to
bytes, answers to what callers get.

What a client and a server write of tensors is the same (`serve/tensors.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import numpy as np

from model_store.errors import InvalidInput
from serve.access.bearer import bearer
from serve.client.addresses import Address
from serve.client.answers import Body, Model, Outputs, read_answer
from serve.client.http_answers import HEADER_LENGTH, HttpAnswer
from serve.client.questions import Question, Target
from serve.client.refusals import http_refusal
from serve.client.retries import Exchange
from serve.tensors import datatype_of, from_json, from_raw, raw_view

_BINARY = "binary_data_output"


class _Parameters(msgspec.Struct):
    binary_data_size: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: _Parameters | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Answer(msgspec.Struct):
    model_name: str
    outputs: list[_Output]
    model_version: str = ""
    id: str | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Answer).decode
_decode_model = msgspec.json.Decoder(Model).decode

Message = list[bytes | memoryview]
"""What is written to a connection, one piece after the other."""


class HttpProtocol:
    """Exchanges with the endpoint at `address`; it holds no connection."""

    def __init__(self, address: Address) -> None:
        self._prefix = quote(address.prefix, safe="/%")
        common = {"host": address.netloc, "user-agent": "onegate", **bearer(address.key)}
        self._common = "".join(f"{name}: {value}\r\n" for name, value in common.items())

    def infer(self, question: Question) -> Exchange[Outputs]:
        """An inference."""
        raw = [raw_view(tensor) for tensor in question.inputs.values()]
        path = f"/v2{_model_path(question.target)}/infer"

        def ask(left_s: float) -> Message:
            header = _encode(_described(question, raw, left_s))
            return self._post(path, [header, *raw], {HEADER_LENGTH: str(len(header))})

        return Exchange(ask, lambda answer: read_answer(_outputs, _accepted(answer)))

    def predict(self, target: Target, content: bytes | memoryview, content_type: str) -> Exchange[Body]:
        """A raw body for a processor or handler, or for a model whose input it describes."""
        path = f"/predict/{quote(target.model, safe='')}" + ("" if target.named is None else f"/{_quoted(target)}")
        if not (content_type.isascii() and content_type.isprintable()):
            raise InvalidInput(f"expected a content type as image/jpeg, got {content_type!r:.80}")

        def read(answer: HttpAnswer) -> Body:
            return Body(bytes(_accepted(answer).body), answer.headers.get("content-type", ""))

        return Exchange(lambda left_s: self._post(path, [content], {"content-type": content_type}), read)

    def model(self, target: Target) -> Exchange[Model]:
        """What a model is."""
        return Exchange(
            lambda left_s: self._get(f"/v2{_model_path(target)}"),
            lambda answer: read_answer(_decode_model, _accepted(answer).body),
        )

    def ready(self, target: Target | None) -> Exchange[bool]:
        """Whether a model can be called, or all of the config."""
        path = "/v2/health" if target is None else f"/v2{_model_path(target)}"
        return Exchange(lambda left_s: self._get(f"{path}/ready"), _is_ready)

    def _get(self, path: str) -> Message:
        return [f"GET {self._prefix}{path} HTTP/1.1\r\n{self._common}\r\n".encode()]

    def _post(self, path: str, parts: Message, headers: Mapping[str, str]) -> Message:
        own = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        length = sum(map(len, parts))
        head = f"POST {self._prefix}{path} HTTP/1.1\r\n{self._common}{own}content-length: {length}\r\n\r\n"
        return [head.encode(), *parts]


def _described(question: Question, raw: Message, left_s: float) -> dict[str, Any]:
    parameters = {**question.parameters, _BINARY: True, "timeout": max(1, int(left_s * 1e6))}
    if question.signature is not None:
        parameters["signature"] = question.signature
    if question.priority:
        parameters["priority"] = question.priority
    document: dict[str, Any] = {
        "inputs": [
            {
                "name": name,
                "datatype": datatype_of(tensor),
                "shape": tensor.shape,
                "parameters": {"binary_data_size": len(content)},
            }
            for (name, tensor), content in zip(question.inputs.items(), raw, strict=True)
        ],
        "parameters": parameters,
    }
    if question.id:
        document["id"] = question.id
    if question.outputs:
        document["outputs"] = [{"name": name} for name in question.outputs]
    return document


def _outputs(answer: HttpAnswer) -> Outputs:
    body = answer.body
    position = int(answer.headers.get(HEADER_LENGTH, len(body)))
    told = _decode(body[:position])
    outputs: dict[str, np.ndarray] = {}
    for output in told.outputs:
        size = None if output.parameters is None else output.parameters.binary_data_size
        if size is None:
            data = output.data or b""
            outputs[output.name] = from_json(output.name, output.datatype, output.shape, data)
            continue
        content = body[position : position + size]
        outputs[output.name] = from_raw(output.name, output.datatype, output.shape, content)
        position += size
    if position != len(body):
        raise ValueError(f"the binary tensors take {position} bytes, and there are {len(body)}")
    return Outputs(outputs, told.model_name, told.model_version, told.id or "")


def _accepted(answer: HttpAnswer) -> HttpAnswer:
    """Raises the error that the answer is, if it is one."""
    if 200 <= answer.status < 300:
        return answer
    raise http_refusal(answer.status, answer.headers, answer.body)


def _is_ready(answer: HttpAnswer) -> bool:
    # 400 and 404 are what the protocol has for no, 503 what a proxy has.
    if answer.status in (400, 404, 503):
        return False
    return _accepted(answer) is answer


def _model_path(target: Target) -> str:
    path = f"/models/{quote(target.model, safe='')}"
    return path if target.named is None else f"{path}/versions/{_quoted(target)}"


def _quoted(target: Target) -> str:
    assert target.named is not None
    return quote(target.named, safe="")
