"""Raw bodies as rows of the reserved signature `payload`, so that they travel and are batched as tensors are.

A row is `PAYLOAD_SIGNATURE`'s: BYTES columns, and the status of an answer as INT32. What a body means is for processors
(`serve/processors/`) and handlers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from model_store.errors import InvalidInput
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, Manifest, Signature
from serve.inference import Payload, Tensors

_NOTHING = b"{}"
# Bytes in JSON are base64 to msgspec, both ways.
_encode = msgspec.json.Encoder().encode
_decode_fields = msgspec.json.Decoder(dict[str, bytes | tuple[bytes, str]]).decode
_decode_headers = msgspec.json.Decoder(dict[str, str]).decode


def signatures_with_payload(manifest: Manifest) -> dict[str, Signature]:
    """The signatures that can be called: a version without a processor of its own takes JSON bodies all the same."""
    return {**manifest.signatures, PAYLOAD: PAYLOAD_SIGNATURE}


def to_tensors(payload: Payload) -> Tensors:
    """A request's body as the inputs of one row."""
    return {
        "body": _column([payload.body]),
        "content_type": _column([payload.content_type.encode()]),
        "fields": _column([_fields(payload)]),
        "headers": _column([_headers(payload.headers)]),
    }


def from_tensors(outputs: Tensors) -> Payload:
    """The answer in the outputs of one row; raises `InvalidInput` when its headers are no JSON object of text."""
    return Payload(
        outputs["body"][0],
        outputs["content_type"][0].decode(),
        headers=_read_headers(outputs["headers"][0]),
        status=int(outputs["status"][0]),
    )


def requests_of(inputs: Tensors) -> list[Payload]:
    """The bodies in the rows of a batch; raises `InvalidInput` for fields or headers that are not what they must be."""
    rows = zip(*(inputs[spec.name] for spec in PAYLOAD_SIGNATURE.inputs), strict=True)
    return [_request(*row) for row in rows]


def _request(body: bytes, content_type: bytes, fields: bytes, headers: bytes) -> Payload:
    payload = Payload(body, content_type.decode(errors="replace"), headers=_read_headers(headers))
    if fields != _NOTHING:
        read = _read_fields(fields)
        payload.fields = {name: field if isinstance(field, bytes) else field[0] for name, field in read.items()}
        payload.field_types = {name: field[1] for name, field in read.items() if isinstance(field, tuple)}
    return payload


def answers_to_tensors(answers: Sequence[Payload]) -> Tensors:
    """Answers as the outputs of a batch, a row each."""
    return {
        "body": _column([answer.body for answer in answers]),
        "content_type": _column([answer.content_type.encode() for answer in answers]),
        "headers": _column([_headers(answer.headers) for answer in answers]),
        "status": np.array([answer.status for answer in answers], np.int32),
    }


def refusal(status: int, kind: str, message: str) -> Payload:
    """An answer that says what is wrong, in the words of the model servers: indented JSON and a newline."""
    body = json.dumps({"code": status, "type": kind, "message": message}, indent=2) + "\n"
    return Payload(body.encode(), "application/json", status=status)


def _column(elements: Sequence[bytes]) -> np.ndarray:
    column = np.empty(len(elements), dtype=object)
    column[:] = elements
    return column


def _fields(payload: Payload) -> bytes:
    if not payload.fields:
        return _NOTHING
    types = payload.field_types
    return _encode({name: (value, types[name]) if name in types else value for name, value in payload.fields.items()})


def _headers(headers: Mapping[str, str]) -> bytes:
    return _encode(dict(headers)) if headers else _NOTHING


def _read_fields(text: bytes) -> dict[str, bytes | tuple[bytes, str]]:
    try:
        return _decode_fields(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"fields: expected a JSON object of text in base64, got {text[:40]!r}: {error}") from error


def _read_headers(text: bytes) -> dict[str, str]:
    try:
        return {} if text == _NOTHING else _decode_headers(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"headers: expected a JSON object of text, got {text[:40]!r}: {error}") from error
