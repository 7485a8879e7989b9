"""Inference messages as bytes, both ways and at both ends: by the layout of the one before, or else as a whole."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from serve.dialects.grpc_base import parsed
from serve.dialects.open_inference_grpc import (
    NOTHING_SHARED,
    NOTHING_WANTED,
    RAW,
    ReplyForm,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from serve.dialects.open_inference_grpc_layouts import KnownLayouts, WrittenLayouts
from serve.dialects.open_inference_grpc_messages import (
    REQUEST_CONTENTS,
    RESPONSE_CONTENTS,
    ReceivedRequest,
    ReceivedResponse,
)
from serve.inference import InferenceRequest, InferenceResponse, Tensors
from serve.shared_memory import LentRegions, MappedRegions, Placed


class RequestReader:
    """Reads what clients and gateways send."""

    def __init__(self) -> None:
        self.known: KnownLayouts[InferenceRequest] = KnownLayouts(REQUEST_CONTENTS)

    def read(
        self, data: bytes, deadline: float | None = None, regions: MappedRegions | None = None
    ) -> InferenceRequest:
        """The request in a `ModelInferRequest`, as `decode_request`; raises `InvalidInput` also for what is none."""
        found = self.known.find(data)
        if found is not None:
            told, id, inputs = found
            return InferenceRequest(
                told.model,
                told.version,
                told.label,
                signature=told.signature,
                id=id,
                inputs=inputs,
                wanted_outputs=told.wanted_outputs,
                parameters=told.parameters,
                priority=told.priority,
                deadline=deadline,
                reply_form=told.reply_form,
            )
        received = parsed(ReceivedRequest, data)
        request = decode_request(received, deadline, regions)
        # Of typed contents no layout is kept; to go through their fields only to find that out took a third of their
        # time. A timeout counts from now on, each time.
        if received.raw and request.inputs and "timeout" not in received.message.parameters:
            told = msgspec.structs.replace(request, inputs=None, deadline=None)
            self.known.learn(data, told, request.inputs)
        return request


class ResponseWriter:
    """Writes what they are answered."""

    def __init__(self) -> None:
        self._written = WrittenLayouts(RESPONSE_CONTENTS)

    def write(self, response: InferenceResponse, form: ReplyForm, regions: MappedRegions | None = None) -> bytes:
        """A `ModelInferResponse`, as `encode_response`."""
        outputs = response.outputs
        if form is not RAW or not outputs or response.parameters:
            return encode_response(response, form, regions).SerializeToString()
        about = (response.model, response.version)
        return self._written.write(about, outputs, lambda: _described(response), response.id)


def _described(response: InferenceResponse) -> bytes:
    data: bytes = encode_response(msgspec.structs.replace(response, id=""), RAW).message.SerializeToString()
    return data


class RequestWriter:
    """Writes what a gateway sends to replicas and upstream servers."""

    def __init__(self) -> None:
        self._written = WrittenLayouts(REQUEST_CONTENTS)

    def write(
        self,
        model: str,
        version: int | str,
        inputs: Tensors,
        shared: Mapping[str, Placed] = NOTHING_SHARED,
        signature: str | None = None,
        wanted: Mapping[str, Placed | None] = NOTHING_WANTED,
        id: str = "",
    ) -> bytes:
        """A `ModelInferRequest`, as `encode_request`."""
        if shared or wanted or not inputs:
            sent = encode_request(model, version, inputs, shared, signature, wanted)
            sent.message.id = id
            return sent.SerializeToString()

        def describe() -> bytes:
            data: bytes = encode_request(model, version, inputs, signature=signature).message.SerializeToString()
            return data

        return self._written.write((model, version, signature), inputs, describe, id)


class ResponseReader:
    """Reads what replicas answer."""

    def __init__(self) -> None:
        self._known: KnownLayouts[None] = KnownLayouts(RESPONSE_CONTENTS)

    def read(self, data: bytes, lent: LentRegions | None = None) -> Tensors:
        """The outputs in a `ModelInferResponse`, as `decode_response`; raises `DecodeError` also for what is none."""
        if lent is not None:
            return decode_response(ReceivedResponse.FromString(data), lent)
        found = self._known.find(data)
        if found is not None:
            return found[2]
        outputs = decode_response(ReceivedResponse.FromString(data))
        self._known.learn(data, None, outputs)
        return outputs
