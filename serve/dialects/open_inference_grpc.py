"""Open Inference Protocol (KServe v2) over gRPC: protobuf messages to and from requests and answers.

Both ends are here: a gateway and a model replica decode requests and encode answers; the executors that call replicas
encode requests and decode answers. Fields: `serve/protocols/open_inference.proto`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from model_store.errors import InvalidInput, Unsupported
from model_store.manifest import TensorSpec
from serve import tensors
from serve.dialects.open_inference import SERVER_NAME, SIGNATURE, platform_of
from serve.inference import (
    InferenceRequest,
    InferenceResponse,
    ModelDescription,
    ModelQuery,
    Tensors,
    output_tensors,
)
from serve.protocols import open_inference as messages
from serve.shared_memory import MappedRegions, Placed
from serve.version import VERSION

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Datatype -> field of its typed contents. FP16 and BF16 travel raw only."""


NOTHING_SHARED: Mapping[str, Placed] = MappingProxyType({})

_REGION = "shared_memory_region"
_OFFSET = "shared_memory_offset"
_SIZE = "shared_memory_byte_size"


def decode_request(
    message: Any, deadline: float | None = None, regions: MappedRegions | None = None
) -> InferenceRequest:
    """The request in a `ModelInferRequest`, raw, typed or, with `regions`, in shared memory.

    Raw and shared tensors are views. Raises `InvalidInput`, and `Unsupported` for shared memory without `regions`.
    """
    # Who sends tensors in shared memory reads raw answers.
    raw = bool(message.raw_input_contents) or any(_REGION in tensor.parameters for tensor in message.inputs)
    return InferenceRequest(
        message.model_name,
        message.model_version or None,
        signature=(message.parameters[SIGNATURE].string_param or None) if SIGNATURE in message.parameters else None,
        id=message.id,
        inputs=_decode_tensors(message.inputs, message.raw_input_contents, regions),
        wanted_outputs=tuple(output.name for output in message.outputs),
        deadline=deadline,
        reply_form=raw,
    )


def encode_response(response: InferenceResponse, raw: bool) -> Any:
    """A `ModelInferResponse`, in the form in which the request came; FP16 and BF16 force raw for the whole message."""
    message = messages.ModelInferResponse(model_name=response.model, model_version=response.version, id=response.id)
    outputs = output_tensors(response)
    raw = raw or any(tensors.datatype_of(tensor) not in _CONTENTS for tensor in outputs.values())
    if raw:
        _add_raw(outputs, message.outputs, message.raw_output_contents)
    else:
        _add_typed(outputs, message.outputs)
    return message


def encode_request(
    model: str,
    version: int,
    inputs: Tensors,
    shared: Mapping[str, Placed] = NOTHING_SHARED,
    signature: str | None = None,
) -> Any:
    """A `ModelInferRequest` for a replica: raw contents, but for the inputs that lie in shared memory."""
    message = messages.ModelInferRequest(model_name=model, model_version=str(version))
    if signature is not None:
        message.parameters[SIGNATURE].string_param = signature
    for name, tensor in inputs.items():
        described = message.inputs.add(name=name, datatype=tensors.datatype_of(tensor), shape=tensor.shape)
        if name in shared:
            _add_placed(described, shared[name])
        else:
            message.raw_input_contents.append(tensors.to_raw(tensor))
    return message


def decode_response(message: Any) -> Tensors:
    """The outputs in a `ModelInferResponse`; raises `InvalidInput` where the message contradicts itself."""
    return _decode_tensors(message.outputs, message.raw_output_contents)


def decode_model_query(message: Any) -> ModelQuery:
    """The question in a `ModelReadyRequest` or `ModelMetadataRequest`."""
    return ModelQuery(message.name, message.version or None)


def encode_model(description: ModelDescription) -> Any:
    """A `ModelMetadataResponse`."""
    manifest = description.manifest
    signature = manifest.signatures[manifest.default_signature]
    return messages.ModelMetadataResponse(
        name=manifest.name,
        versions=description.versions,
        platform=platform_of(manifest.runtime),
        inputs=_metadata(signature.inputs),
        outputs=_metadata(signature.outputs),
    )


def encode_server() -> Any:
    """A `ServerMetadataResponse`."""
    return messages.ServerMetadataResponse(name=SERVER_NAME, version=VERSION)


def _metadata(specs: Iterable[TensorSpec]) -> list[Any]:
    kind = messages.ModelMetadataResponse.TensorMetadata
    return [kind(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in specs]


def _add_placed(described: Any, placed: Placed) -> None:
    described.parameters[_REGION].string_param = placed.region
    described.parameters[_OFFSET].int64_param = placed.offset
    described.parameters[_SIZE].int64_param = placed.size


def _placed(tensor: Any) -> Placed:
    given = tensor.parameters
    return Placed(given[_REGION].string_param, given[_OFFSET].int64_param, given[_SIZE].int64_param)


def _decode_tensors(
    described: Sequence[Any], raw_contents: Sequence[bytes], regions: MappedRegions | None = None
) -> Tensors:
    shared = {tensor.name for tensor in described if _REGION in tensor.parameters}
    if shared and regions is None:
        raise Unsupported("shared memory is not offered here; send raw contents")
    if raw_contents and len(raw_contents) != len(described) - len(shared):
        raise InvalidInput(f"{len(described)} tensors are described and {len(raw_contents)} raw contents sent")
    raw = iter(raw_contents)
    decoded: Tensors = {}
    for tensor in described:
        if tensor.name in decoded:
            raise InvalidInput(f"tensor {tensor.name!r} appears twice")
        if (raw_contents or tensor.name in shared) and tensor.HasField("contents"):
            raise InvalidInput(f"tensor {tensor.name!r} has both raw and typed contents")
        if tensor.name in shared:
            assert regions is not None
            content: bytes | memoryview = regions.view(_placed(tensor))
        elif raw_contents:
            content = next(raw)
        else:
            decoded[tensor.name] = _decode_typed(tensor)
            continue
        decoded[tensor.name] = tensors.from_raw(tensor.name, tensor.datatype, tensor.shape, content)
    return decoded


def _decode_typed(tensor: Any) -> np.ndarray:
    tensors.dtype_of(tensor.name, tensor.datatype)
    if tensor.datatype not in _CONTENTS:
        raise InvalidInput(f"tensor {tensor.name!r}: {tensor.datatype} travels as raw contents only")
    values = getattr(tensor.contents, _CONTENTS[tensor.datatype])
    return tensors.from_values(tensor.name, tensor.datatype, tensor.shape, values)


def _add_raw(sent: Tensors, described: Any, contents: Any) -> None:
    for name, tensor in sent.items():
        described.add(name=name, datatype=tensors.datatype_of(tensor), shape=tensor.shape)
        contents.append(tensors.to_raw(tensor))


def _add_typed(sent: Tensors, described: Any) -> None:
    for name, tensor in sent.items():
        datatype = tensors.datatype_of(tensor)
        entry = described.add(name=name, datatype=datatype, shape=tensor.shape)
        getattr(entry.contents, _CONTENTS[datatype]).extend(tensor.ravel().tolist())
