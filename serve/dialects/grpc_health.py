"""The standard gRPC health service: whether this server, or one of its services, can be called.

Specification: https://github.com/grpc/grpc/blob/master/doc/health-checking.md. Every service here serves the same
models, so that all of them have the server's state.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from typing import Any

from model_store.errors import ModelNotFound
from serve.dialects.grpc_base import GrpcCall, GrpcMethod, GrpcService
from serve.inference import Answer, ServerDescription, ServerQuery
from serve.protocols import health as messages

WHOLE_SERVER = ""
"""What a client names that asks for no service."""


def health_service(names: Collection[str]) -> GrpcService:
    """The health of the services `names`."""
    known = frozenset((WHOLE_SERVER, *names))

    async def check(message: Any, call: GrpcCall) -> Any:
        if message.service not in known:
            raise ModelNotFound(f"no service {message.service!r:.80} here; services: {', '.join(sorted(names))}")
        return _health(await call.answer(ServerQuery()))

    async def watch(message: Any, call: GrpcCall) -> AsyncIterator[Any]:
        """Tells each change. One that asks for an unknown service waits for it, as the specification has it."""
        told = None
        async with aclosing(call.watch(ServerQuery())) as answers:  # type: ignore[type-var]
            async for answer in answers:
                health = _health(answer) if message.service in known else _UNKNOWN
                if health != told:
                    told = health
                    yield health

    request = messages.HealthCheckRequest
    return GrpcService(
        messages.SERVICE, {"Check": GrpcMethod(request, check), "Watch": GrpcMethod(request, streaming=watch)}
    )


def _status(name: str) -> Any:
    return messages.HealthCheckResponse(status=name)


_SERVING = _status("SERVING")
_NOT_SERVING = _status("NOT_SERVING")
_UNKNOWN = _status("SERVICE_UNKNOWN")


def _health(answer: Answer) -> Any:
    assert isinstance(answer, ServerDescription)
    return _SERVING if answer.ready else _NOT_SERVING
