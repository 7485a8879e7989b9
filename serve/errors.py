"""Which status each kind of error has in HTTP and in gRPC: one table for all dialects.

A dialect overrides what its protocol does differently and shapes the body. gRPC codes are kept as their
names (https://grpc.io/docs/guides/status-codes/), so that this module needs no gRPC library.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass

from model_store.errors import (
    ConfigError,
    Conflict,
    ConversionError,
    DeadlineExceeded,
    Forbidden,
    IntegrityError,
    InternalError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    NotSigned,
    OnegateError,
    OutOfMemory,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    SourceError,
    StoreError,
    Unauthenticated,
    Unsupported,
)

log = logging.getLogger("onegate")

RETRY_AFTER = "retry_after_s"
"""In the details of an error: when to come again."""

ERROR_KIND = "onegate-error"
"""The header of a refusal, and gRPC's metadata beside its status: the name of the error's kind, as several kinds share
a status. Of a row that carries an error it is a header too; the body is the message then."""


@dataclass(frozen=True)
class Status:
    """How a kind of error is told on the wire: HTTP status, and name of the gRPC code."""

    http: int
    grpc: str


STATUSES: dict[type[OnegateError], Status] = {
    InvalidInput: Status(400, "INVALID_ARGUMENT"),
    PayloadTooLarge: Status(413, "RESOURCE_EXHAUSTED"),
    ModelNotFound: Status(404, "NOT_FOUND"),
    ModelNotReady: Status(503, "UNAVAILABLE"),
    OutOfMemory: Status(503, "RESOURCE_EXHAUSTED"),
    Overloaded: Status(503, "RESOURCE_EXHAUSTED"),
    DeadlineExceeded: Status(504, "DEADLINE_EXCEEDED"),
    Unsupported: Status(501, "UNIMPLEMENTED"),
    ConfigError: Status(400, "INVALID_ARGUMENT"),
    SourceError: Status(400, "INVALID_ARGUMENT"),
    ConversionError: Status(422, "FAILED_PRECONDITION"),
    Unauthenticated: Status(401, "UNAUTHENTICATED"),
    Forbidden: Status(403, "PERMISSION_DENIED"),
    RateLimited: Status(429, "RESOURCE_EXHAUSTED"),
    Conflict: Status(409, "ABORTED"),
    IntegrityError: Status(500, "DATA_LOSS"),
    NotSigned: Status(403, "PERMISSION_DENIED"),
    StoreError: Status(500, "INTERNAL"),
    InternalError: Status(500, "INTERNAL"),
}


def status_of(error: OnegateError) -> Status:
    """The status of the error's kind, or of the nearest base that the table lists."""
    for kind in type(error).__mro__:
        if kind in STATUSES:
            return STATUSES[kind]
    return STATUSES[InternalError]


def kind_of(error: BaseException) -> str:
    """The name under which an error is counted."""
    return type(error).__name__ if isinstance(error, OnegateError) else InternalError.__name__


def read_retry_after(value: str | None) -> dict[str, float]:
    """The details of an error that came with this `retry-after`. Seconds only: a date, as proxies may send it, says
    nothing about this machine's clock."""
    value = (value or "").strip()
    return {RETRY_AFTER: float(value)} if value.isascii() and value.isdigit() and len(value) < 7 else {}


def presentable(error: BaseException, request_id: str = "") -> OnegateError:
    """The error that a caller may see.

    Errors of the hierarchy stay as they are. Any other is a defect: it is logged whole under an id, that of the request
    where there is one, and the caller gets the id and no traceback.
    """
    if isinstance(error, OnegateError):
        return error
    error_id = request_id or uuid.uuid4().hex[:12]
    log.error("internal error %s", error_id, exc_info=error)
    return InternalError(f"internal error {error_id}; the server's log has the details", error_id=error_id)
