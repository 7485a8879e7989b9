"""Raw bodies as rows of the reserved signature `payload`, so that they travel and are batched as tensors are.

A row is `PAYLOAD_SIGNATURE`'s: BYTES columns, and the status of an answer as INT32. What a body means is for processors
(`serve/processors/`) and handlers. An error of one row travels in it, and each dialect words it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from model_store.errors import ERROR_KINDS, InternalError, InvalidInput, OnegateError
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, Manifest, Signature
from serve.errors import ERROR_KIND, kind_of, status_of
from serve.inference import Payload, Tensors

EXPLAIN = "explain"
"""The header of a request that asks for an explanation in place of a prediction, when its value is `True`: TorchServe's
handlers look for it."""

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
    """The answer in the outputs of one row.

    Raises the error that the row carries, and `InvalidInput` when its headers are no JSON object of text.
    """
    headers = _read_headers(outputs["headers"][0])
    if ERROR_KIND in headers:
        raise ERROR_KINDS.get(headers[ERROR_KIND], InternalError)(outputs["body"][0].decode(errors="replace"))
    return Payload(
        outputs["body"][0], outputs["content_type"][0].decode(), headers=headers, status=int(outputs["status"][0])
    )


def requests_of(inputs: Tensors) -> list[Payload]:
    """The bodies in the rows of a batch; raises `InvalidInput` for fields or headers that are not what they must be."""
    rows = zip(*(inputs[spec.name] for spec in PAYLOAD_SIGNATURE.inputs), strict=True)
    return [_request(*row) for row in rows]


def asks_for_explanation(payload: Payload) -> bool:
    """Whether the request wants an explanation, which only a handler can give."""
    return payload.headers.get(EXPLAIN) == "True"


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


def refused(error: OnegateError) -> Payload:
    """The answer of a row that carries `error`, whose details stay behind; `from_tensors` raises it again."""
    headers = {ERROR_KIND: kind_of(error)}
    return Payload(error.message.encode(errors="replace"), "text/plain", headers=headers, status=status_of(error).http)


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
