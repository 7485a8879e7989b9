"""What a gRPC dialect is: services, each a table of methods from messages to messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.message import DecodeError

from model_store.errors import InvalidInput, OnegateError
from serve.errors import status_of
from serve.inference import Answer, Query

CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""Names of the codes, in the order of their numbers."""


class GrpcCall(Protocol):
    """One call as a method sees it."""

    @property
    def deadline(self) -> float | None:
        """When the client gives up, on the event loop's clock; None when it never does."""

    @property
    def answer(self) -> Callable[[Query], Awaitable[Answer]]:
        """Answers a query; raises errors of the hierarchy, which the front door tells the client."""

    def watch(self, query: Query) -> AsyncIterator[Answer]:
        """The answer now and again every second, and once more when the server stops, which ends it."""


Unary = Callable[[Any, GrpcCall], Awaitable[Any]]
"""Message and call to the reply's message."""
Streaming = Callable[[Any, GrpcCall], AsyncIterator[Any]]
"""Message and call to the messages of the reply."""
Refusal = Callable[[Any, OnegateError], Any]
"""The reply's message that tells an error: of the message that is given, or None for one that can't be read."""


@dataclass(frozen=True)
class GrpcMethod:
    """`request` is the class of the messages that come in; replies are messages, or their bytes. One of `unary`,
    `streaming` and `each` is set.

    `each` is for streams both ways, whose every message has a reply of its own. The front door runs several at once and
    replies in order; an error is told by `refusal`, which `each` needs, and the stream goes on.
    """

    request: Any
    unary: Unary | None = None
    streaming: Streaming | None = None
    each: Unary | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class GrpcService:
    """A service by its full name, as `inference.GRPCInferenceService`. `codes` are the kinds of error that the protocol
    tells by another code than usual (`serve/errors.py`), by the code's name. `dialect` is the family's name, as metrics
    and traces have it: `open_inference_grpc`; empty for what answers no inference."""

    name: str
    methods: Mapping[str, GrpcMethod]
    codes: Mapping[type[OnegateError], str] = field(default_factory=dict)
    dialect: str = ""

    def code_of(self, error: OnegateError) -> str:
        """The name of the code that tells `error` here."""
        return next((self.codes[kind] for kind in type(error).__mro__ if kind in self.codes), status_of(error).grpc)


def parsed(request: Any, data: bytes) -> Any:
    """The message in `data`; raises `InvalidInput` where there is none."""
    try:
        return request.FromString(data)
    except DecodeError as error:
        raise InvalidInput(f"expected a message {request.DESCRIPTOR.full_name}, got {len(data)} other bytes") from error


def serialised(message: Any) -> bytes:
    """The bytes of a message, or what is bytes already."""
    data: bytes = message if type(message) is bytes else message.SerializeToString()
    return data


def number_of(code: str) -> int:
    """A code as protocols write it that tell errors inside messages."""
    return CODES.index(code)
