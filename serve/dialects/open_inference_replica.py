"""What a model replica answers: two methods of Open Inference's gRPC service, over queries and answers.

Only gateways of the cluster ask, so tensors may lie in shared memory.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from model_store.errors import ModelNotFound, ModelNotReady
from serve.asking import ASKED
from serve.dialects.grpc_base import parsed
from serve.dialects.open_inference_grpc import ReplyForm
from serve.dialects.open_inference_grpc_models import decode_model_query
from serve.dialects.open_inference_grpc_repeated import RequestReader, ResponseWriter
from serve.inference import Answer, InferenceResponse, InputsWithRoom, Query
from serve.protocols import open_inference as messages
from serve.request_record import RequestRecord
from serve.shared_memory import MappedRegions


class ReplicaService:
    """The methods from messages to messages; both raise errors of the hierarchy."""

    def __init__(self, answer: Callable[[Query], Awaitable[Answer]]) -> None:
        self._answer = answer
        self._requests = RequestReader()
        self._responses = ResponseWriter()
        self._regions = MappedRegions()

    async def infer(self, data: bytes, deadline: float, record: RequestRecord) -> bytes:
        """The `ModelInferResponse` to a `ModelInferRequest`; `deadline` is on the event loop's clock. Its `id` has
        those of the requests that it is for. `record` is told when it runs."""
        request = self._requests.read(data, deadline, self._regions)
        record.decoded_ns = time.perf_counter_ns()
        request.record = record
        if request.id:
            record.asked.made, request.id = request.id, ""
            ASKED.set(record.asked)
        form = request.reply_form
        assert isinstance(form, ReplyForm)
        if form.placed and request.inputs:
            request.inputs = InputsWithRoom(request.inputs, self._regions.room(form.placed))
        response = await self._answer(request)
        assert isinstance(response, InferenceResponse)
        return self._responses.write(response, form, self._regions)

    async def ready(self, data: bytes, deadline: float, record: RequestRecord) -> bytes:
        """The `ModelReadyResponse` to a `ModelReadyRequest`."""
        try:
            await self._answer(decode_model_query(parsed(messages.ModelReadyRequest, data)))
            ready = True
        except (ModelNotReady, ModelNotFound):
            ready = False
        return bytes(messages.ModelReadyResponse(ready=ready).SerializeToString())

    def forget_dropped(self) -> None:
        """Lets go the shared memory that gateways have let go; to be called every second or so."""
        self._regions.forget_dropped()
