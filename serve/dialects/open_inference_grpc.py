"""Inference over Open Inference's gRPC service: protobuf messages to and from requests and answers.

Both ends are here: a gateway and a model replica decode requests and encode answers; the executors that call replicas
encode requests and decode answers. Fields: `serve/protocols/open_inference.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from model_store.errors import InvalidInput, Unsupported
from serve import tensors
from serve.classification import with_classes
from serve.dialects.open_inference import NO_SHARED_MEMORY, SIGNATURE, class_count, read_parameters
from serve.dialects.open_inference_grpc_messages import Received, Sent, raw_contents
from serve.inference import InferenceRequest, InferenceResponse, Tensors, output_tensors
from serve.protocols import open_inference as messages
from serve.routing import version_or_label
from serve.shared_memory import LentRegions, MappedRegions, Placed

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

PARAMETERS = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
"""Type of a parameter's value -> its field."""

NOTHING_SHARED: Mapping[str, Placed] = MappingProxyType({})

NOTHING_WANTED: Mapping[str, Placed | None] = MappingProxyType({})

NO_MODEL = "the message names no model; there is no default one here"

_REGION = "shared_memory_region"
_OFFSET = "shared_memory_offset"
_SIZE = "shared_memory_byte_size"


@dataclass(slots=True, frozen=True)
class ReplyForm:
    """How the caller wants the outputs: raw or typed, as so many classes those in `classes`, and written to shared
    memory, as far as they fit, those in `placed`."""

    raw: bool
    classes: Mapping[str, int] = field(default_factory=dict)
    placed: Mapping[str, Placed] = field(default_factory=dict)


RAW = ReplyForm(True)
TYPED = ReplyForm(False)


def decode_request(
    received: Any, deadline: float | None = None, regions: MappedRegions | None = None
) -> InferenceRequest:
    """The request in a `ModelInferRequest`, plain or as `ReceivedRequest`: raw, typed or, with `regions`, in shared
    memory.

    Raw and shared tensors are views. `deadline` is the call's; a `timeout` among the parameters can only shorten it.
    Raises `InvalidInput`, and `Unsupported` for sequences and for shared memory without `regions`.
    """
    message, raw = _parts(received)
    if not message.model_name:
        raise InvalidInput(NO_MODEL)
    form = RAW if raw else TYPED
    inputs, shared = _decode_tensors(message.inputs, raw, regions)
    wanted = ()
    if outputs := message.outputs:
        wanted = tuple([output.name for output in outputs])
        form = _wanted_form(form, outputs, regions)
    version, label = version_or_label(message.model_version)
    request = InferenceRequest(
        message.model_name,
        version,
        label,
        id=message.id,
        inputs=inputs,
        wanted_outputs=wanted,
        deadline=deadline,
        # Who sends tensors in shared memory reads raw answers.
        reply_form=RAW if shared and not form.placed else form,
    )
    if given := message.parameters:
        _read_parameters(request, given)
    return request


def _wanted_form(form: ReplyForm, outputs: Sequence[Any], regions: MappedRegions | None) -> ReplyForm:
    classes, placed = {}, {}
    for output in outputs:
        given = output.parameters
        if not given:
            continue
        if _REGION in given:
            if regions is None:
                raise Unsupported(f"output {output.name!r:.80}: {NO_SHARED_MEMORY}")
            placed[output.name] = _placed(output)
        elif count := class_count(plain_parameters(given)):
            classes[output.name] = count
    return ReplyForm(form.raw or bool(placed), classes, placed) if classes or placed else form


def _read_parameters(request: InferenceRequest, given: Mapping[str, Any]) -> None:
    asked = read_parameters(plain_parameters(given))
    request.signature = asked.signature
    request.priority = asked.priority
    request.parameters = asked.others
    if asked.deadline is not None:
        request.deadline = asked.deadline if request.deadline is None else min(request.deadline, asked.deadline)


def plain_parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """A map of parameters as text, numbers, booleans and bytes; those of no kind are left out."""
    kinds = {name: parameter.WhichOneof("parameter_choice") for name, parameter in given.items()}
    return {name: getattr(given[name], kind) for name, kind in kinds.items() if kind is not None}


def encode_response(response: InferenceResponse, form: ReplyForm, regions: MappedRegions | None = None) -> Sent:
    """A `ModelInferResponse`, in the form in which the request came; FP16 and BF16 force raw for the whole message.
    `regions` is needed for outputs that are to be placed.

    Raises `InvalidInput` for an answer that is no tensors, and for classes of an output that has none.
    """
    message = messages.ModelInferResponse(model_name=response.model, model_version=response.version, id=response.id)
    for key, value in response.parameters.items():
        setattr(message.parameters[key], PARAMETERS[type(value)], value)
    outputs = output_tensors(response)
    if form.classes:
        outputs = with_classes(response, outputs, form.classes)
    if form.raw or any(tensors.datatype_of(tensor) not in _CONTENTS for tensor in outputs.values()):
        return _raw(message, outputs, form.placed, regions)
    _add_typed(outputs, message.outputs)
    return Sent(message)


def encode_request(
    model: str,
    version: int | str,
    inputs: Tensors,
    shared: Mapping[str, Placed] = NOTHING_SHARED,
    signature: str | None = None,
    wanted: Mapping[str, Placed | None] = NOTHING_WANTED,
) -> Sent:
    """A `ModelInferRequest` for a replica: raw contents, but for the inputs that lie in shared memory. `wanted` are the
    outputs, all where it is empty, and where an answer may be written that fits there."""
    message = messages.ModelInferRequest(model_name=model, model_version=str(version))
    if signature is not None:
        message.parameters[SIGNATURE].string_param = signature
    sent = Sent(message)
    for name, tensor in inputs.items():
        described = message.inputs.add(name=name, datatype=tensors.datatype_of(tensor), shape=tensor.shape)
        if name in shared:
            _add_placed(described, shared[name])
        else:
            sent.raw.append(tensors.raw_view(tensor))
    for name, placed in wanted.items():
        output = message.outputs.add(name=name)
        if placed is not None:
            _add_placed(output, placed)
    return sent


def decode_response(received: Any, lent: LentRegions | None = None) -> Tensors:
    """The outputs in a `ModelInferResponse`, plain or as `ReceivedResponse`, raw or in the regions that were `lent`;
    raises `InvalidInput` where the message contradicts itself."""
    message, raw = _parts(received)
    return _decode_tensors(message.outputs, raw, lent)[0]


def _parts(received: Any) -> tuple[Any, Sequence[bytes | memoryview]]:
    if isinstance(received, (Received, Sent)):
        return received.message, received.raw
    return received, raw_contents(received)


def _add_placed(described: Any, placed: Placed) -> None:
    described.parameters[_REGION].string_param = placed.region
    described.parameters[_OFFSET].int64_param = placed.offset
    described.parameters[_SIZE].int64_param = placed.size


def _placed(tensor: Any) -> Placed:
    given = tensor.parameters
    return Placed(given[_REGION].string_param, given[_OFFSET].int64_param, given[_SIZE].int64_param)


def _decode_tensors(
    described: Sequence[Any],
    raw: Sequence[bytes | memoryview],
    regions: MappedRegions | LentRegions | None = None,
) -> tuple[Tensors, bool]:
    """The tensors, and whether some lay in shared memory. Raw contents are taken in the order of the tensors that lie
    nowhere else."""
    decoded: Tensors = {}
    taken = shared = 0
    for tensor in described:
        name = tensor.name
        if name in decoded:
            raise InvalidInput(f"tensor {name!r:.80} appears twice")
        parameters = tensor.parameters
        if parameters and _REGION in parameters:
            content: bytes | memoryview = _mapped(tensor, regions)
            shared += 1
        elif not raw:
            decoded[name] = _decode_typed(tensor)
            continue
        elif taken == len(raw):
            taken = -1
            break
        else:
            content = raw[taken]
            taken += 1
        if tensor.HasField("contents"):
            raise InvalidInput(f"tensor {name!r:.80} has both raw and typed contents")
        decoded[name] = tensors.from_raw(name, tensor.datatype, tensor.shape[:], content)
    if taken != len(raw):
        raise InvalidInput(f"{len(described)} tensors are described and {len(raw)} raw contents sent")
    return decoded, shared > 0


def _mapped(tensor: Any, regions: MappedRegions | LentRegions | None) -> memoryview:
    if regions is None:
        raise Unsupported(f"tensor {tensor.name!r:.80}: {NO_SHARED_MEMORY}")
    return regions.view(_placed(tensor))


def _decode_typed(tensor: Any) -> np.ndarray:
    name, datatype = tensor.name, tensor.datatype
    tensors.dtype_of(name, datatype)
    if datatype not in _CONTENTS:
        raise InvalidInput(f"tensor {name!r:.80}: {datatype} travels as raw contents only")
    return tensors.from_values(name, datatype, tensor.shape[:], getattr(tensor.contents, _CONTENTS[datatype]))


def _raw(message: Any, outputs: Tensors, wanted: Mapping[str, Placed], regions: MappedRegions | None) -> Sent:
    sent = Sent(message)
    for name, tensor in outputs.items():
        described = message.outputs.add(name=name, datatype=tensors.datatype_of(tensor), shape=tensor.shape)
        placed = regions.write(wanted[name], tensor) if regions is not None and name in wanted else None
        if placed is None:
            sent.raw.append(tensors.raw_view(tensor))
        else:
            _add_placed(described, placed)
    return sent


def _add_typed(sent: Tensors, described: Any) -> None:
    for name, tensor in sent.items():
        datatype = tensors.datatype_of(tensor)
        entry = described.add(name=name, datatype=datatype, shape=tensor.shape)
        getattr(entry.contents, _CONTENTS[datatype]).extend(tensor.ravel().tolist())
