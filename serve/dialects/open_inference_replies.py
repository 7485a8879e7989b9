"""Inference replies of Open Inference over HTTP: JSON, and binary tensors behind it.

Not the protocol's own but decided here: JSON answers carry NaN and infinities as the bare tokens `NaN`, `Infinity` and
`-Infinity`, which Python's and tritonclient's parsers read; FP16 and BF16, which JSON does not carry in this protocol,
are binary whatever was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from serve import tensors
from serve.classification import with_classes
from serve.dialects.base import HttpReply
from serve.dialects.open_inference_json import HEADER_LENGTH, ReplyForm
from serve.inference import InferenceResponse, output_tensors
from serve.processors.json_tensors import write_json

_SENT_FROM_PLACE_BYTES = 64 * 1024
"""To copy less takes less time than to send it as a piece of its own."""

JSON = [("content-type", "application/json")]

encode_json = msgspec.json.Encoder().encode


class _Answered(msgspec.Struct, omit_defaults=True):
    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class _Response(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[_Answered]
    id: str = ""
    parameters: Mapping[str, Any] = {}


def encode_inference(response: InferenceResponse, form: ReplyForm) -> HttpReply:
    """The reply with the outputs as `form` wants them. Small binary ones are copied once, into the body.

    Raises `InvalidInput` for an answer that is no tensors, BYTES in JSON that are not UTF-8, and classes of an output
    that has none.
    """
    outputs = output_tensors(response)
    if form.classes:
        outputs = with_classes(response, outputs, form.classes)
    answered: list[_Answered] = []
    binary: list[bytes | memoryview] = []
    for name, tensor in outputs.items():
        datatype = tensors.datatype_of(tensor)
        if form.named.get(name, form.binary) or datatype in ("FP16", "BF16"):
            raw = tensors.raw_view(tensor)
            answered.append(_Answered(name, datatype, tensor.shape, {"binary_data_size": len(raw)}))
            binary.append(raw)
        else:
            answered.append(_Answered(name, datatype, tensor.shape, None, tensors.to_json_values(tensor)))
    message = _Response(response.model, response.version, answered, response.id, response.parameters)
    header = write_json(message)
    if not binary:
        return HttpReply(200, header, JSON)
    headers = [("content-type", "application/octet-stream"), (HEADER_LENGTH, str(len(header)))]
    if sum(map(len, binary)) < _SENT_FROM_PLACE_BYTES:
        return HttpReply(200, b"".join((header, *binary)), headers)
    return HttpReply(200, header, headers, binary)
