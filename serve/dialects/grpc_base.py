"""What a gRPC dialect is: services, each a table of methods from messages to messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from model_store.errors import OnegateError
from serve.inference import Answer, Query
from serve.shared_memory import MappedRegions


class GrpcCall(Protocol):
    """One call as a method sees it."""

    regions: MappedRegions | None
    """Shared memory, for callers that know the cluster's secret; None on the endpoint."""

    @property
    def deadline(self) -> float | None:
        """When the client gives up, on the event loop's clock; None when it never does."""

    @property
    def answer(self) -> Callable[[Query], Awaitable[Answer]]:
        """Answers a query; raises errors of the hierarchy, which the front door tells the client."""


Unary = Callable[[Any, GrpcCall], Awaitable[Any]]
"""Message and call to the reply's message."""
Streaming = Callable[[AsyncIterator[Any], GrpcCall], AsyncIterator[Any]]
"""Messages of both ways, for methods that stream."""


@dataclass(frozen=True)
class GrpcMethod:
    """`request` is the class of the messages that come in. One of `unary` and `streaming` is set; `streams_requests` is
    for the latter: a method may take one message and stream the replies."""

    request: Any
    unary: Unary | None = None
    streaming: Streaming | None = None
    streams_requests: bool = True


@dataclass(frozen=True)
class GrpcService:
    """A service by its full name, as `inference.GRPCInferenceService`. `codes` are the kinds of error that the protocol
    tells by another code than usual (`serve/errors.py`), by the code's name."""

    name: str
    methods: Mapping[str, GrpcMethod]
    codes: Mapping[type[OnegateError], str] = field(default_factory=dict)
