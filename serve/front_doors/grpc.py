"""The gRPC front door: a grpc.aio server with the Open Inference service over a function that answers queries.

Gateways open it to clients, model replicas to gateways. The two differ in the secret: a replica answers only calls that
carry the cluster's, and takes tensors in shared memory from who knows it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from model_store.errors import ModelNotReady
from serve.dialects import open_inference_grpc as dialect
from serve.errors import presentable, status_of
from serve.inference import (
    Answer,
    InferenceRequest,
    InferenceResponse,
    ModelDescription,
    Query,
    ServerDescription,
    ServerQuery,
)
from serve.protocols import open_inference as messages
from serve.shared_memory import MappedRegions

SECRET_KEY = "onegate-secret"

Answerer = Callable[[Query], Awaitable[Answer]]


def channel_options(max_message_bytes: int = -1) -> list[tuple[str, Any]]:
    """Options for both ends: the usual limit of 4 MB is too small for tensors; -1 is no limit."""
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 1),
    ]


class GrpcFrontDoor:
    """A server from `start` to `stop`."""

    def __init__(self, answer: Answerer, *, max_message_bytes: int = -1, secret: str | None = None) -> None:
        self._answer = answer
        # On the endpoint, anybody could name anybody's memory.
        self._regions = MappedRegions() if secret is not None else None
        self._secret = secret
        self._server = grpc.aio.server(options=channel_options(max_message_bytes))
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._guarded(method), request.FromString, lambda reply: reply.SerializeToString()
            )
            for name, (method, request) in self._methods().items()
        }
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(messages.SERVICE, handlers)])

    async def start(self, addresses: Sequence[str]) -> list[int]:
        """Listens on `addresses`; returns their ports (1 for Unix sockets). Raises `RuntimeError` when one is taken."""
        ports = [self._server.add_insecure_port(address) for address in addresses]
        await self._server.start()
        return ports

    async def stop(self, grace_s: float) -> None:
        """Refuses new calls and gives those under way `grace_s` seconds to end."""
        await self._server.stop(grace_s)

    def _methods(self) -> dict[str, tuple[Callable[[Any, Any], Awaitable[Any]], Any]]:
        return {
            "ModelInfer": (self._infer, messages.ModelInferRequest),
            "ModelReady": (self._model_ready, messages.ModelReadyRequest),
            "ModelMetadata": (self._model_metadata, messages.ModelMetadataRequest),
            "ServerLive": (self._server_live, messages.ServerLiveRequest),
            "ServerReady": (self._server_ready, messages.ServerReadyRequest),
            "ServerMetadata": (self._server_metadata, messages.ServerMetadataRequest),
        }

    def _guarded(self, method: Callable[[Any, Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[Any]]:
        async def call(message: Any, context: Any) -> Any:
            if self._secret is not None and not self._knows_secret(context):
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this port is for the cluster's own gateways")
            try:
                return await method(message, context)
            except Exception as error:
                told = presentable(error)
                await context.abort(grpc.StatusCode[status_of(told).grpc], told.message)

        return call

    def _knows_secret(self, context: Any) -> bool:
        secret = self._secret or ""
        return any(
            key == SECRET_KEY and hmac.compare_digest(str(value), secret)
            for key, value in context.invocation_metadata() or ()
        )

    async def _infer(self, message: Any, context: Any) -> Any:
        remaining_s = context.time_remaining()
        deadline = None if remaining_s is None else asyncio.get_running_loop().time() + remaining_s
        request: InferenceRequest = dialect.decode_request(message, deadline, self._regions)
        response = await self._answer(request)
        assert isinstance(response, InferenceResponse)
        return dialect.encode_response(response, raw=bool(request.reply_form))

    async def _model_ready(self, message: Any, context: Any) -> Any:
        try:
            await self._answer(dialect.decode_model_query(message))
        except ModelNotReady:
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=True)

    async def _model_metadata(self, message: Any, context: Any) -> Any:
        description = await self._answer(dialect.decode_model_query(message))
        assert isinstance(description, ModelDescription)
        return dialect.encode_model(description)

    async def _server_live(self, message: Any, context: Any) -> Any:
        return messages.ServerLiveResponse(live=True)

    async def _server_ready(self, message: Any, context: Any) -> Any:
        description = await self._answer(ServerQuery())
        assert isinstance(description, ServerDescription)
        return messages.ServerReadyResponse(ready=description.ready)

    async def _server_metadata(self, message: Any, context: Any) -> Any:
        return dialect.encode_server()
