"""What every reply of MXNet Model Server and TorchServe has: headers, indented JSON, and errors in their own words.

References: `NettyUtils`, `HttpRequestHandler` and the exceptions of either server
(https://github.com/awslabs/multi-model-server and https://github.com/pytorch/serve, `frontend/server`).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from model_store.errors import (
    ConfigError,
    Conflict,
    ConversionError,
    DeadlineExceeded,
    InternalError,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    OnegateError,
    OutOfMemory,
    Overloaded,
    RateLimited,
    SourceError,
    Unauthenticated,
)
from serve.asking import REQUEST_ID, Asked
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute, retry_after
from serve.errors import status_of

Manner = Literal["torchserve", "mms"]
"""Whose answers are given where the two servers differ."""

ALWAYS = (
    ("pragma", "no-cache"),
    ("cache-control", "no-cache; no-store, must-revalidate, private"),
    ("expires", "Thu, 01 Jan 1970 00:00:00 UTC"),
)

_NAMES: dict[type[OnegateError], str] = {
    InvalidInput: "BadRequestException",
    ConfigError: "BadRequestException",
    ModelNotFound: "ModelNotFoundException",
    DeadlineExceeded: "RequestTimeoutException",
    RateLimited: "TooManyRequestsException",
    Unauthenticated: "UnauthorizedException",
    Conflict: "ConflictStatusException",
    ModelNotReady: "ServiceUnavailableException",
    Overloaded: "ServiceUnavailableException",
    OutOfMemory: "OutOfMemoryError",
    SourceError: "InvalidModelException",
    ConversionError: "InvalidModelException",
    InternalError: "InternalServerException",
}
"""Kind of error -> the exception of theirs that it is told as."""
_STATUSES: dict[type[OnegateError], int] = {DeadlineExceeded: 408, OutOfMemory: 507, ConversionError: 400}
"""Kinds whose status is another one than usual."""
_ROUTES = {
    404: ("ResourceNotFoundException", "Requested resource is not found, please refer to API document."),
    405: ("MethodNotAllowedException", "Requested method is not allowed, please refer to API document."),
}


@dataclass(frozen=True)
class Target:
    """What a path names; `version` is a version or a label, as the client wrote it."""

    model: str
    version: str | None = None


def request_id(request: HttpRequest) -> str:
    """The client's own id, where it is one that can be sent back; else a new one, the same each time."""
    asked = request.asked or Asked(request.header)
    if not asked.known:
        asked.made = str(uuid.uuid4())
    return asked.known


def reply(status: int, body: bytes, id: str, headers: Iterable[tuple[str, str]]) -> HttpReply:
    """A reply with what all have; the connection is said to close with an error, as they do it."""
    closing = (("connection", "close"),) if status >= 400 else ()
    return HttpReply(status, body, [(REQUEST_ID, id), *ALWAYS, *headers, *closing])


def json_text(content: Any) -> str:
    """JSON as these servers write it: indented, with a line break at the end."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def json_reply(request: HttpRequest, content: Any, status: int = 200) -> HttpReply:
    """A reply of the server's own."""
    return reply(status, json_text(content).encode(), request_id(request), [("content-type", "application/json")])


def status_reply(request: HttpRequest, text: str, status: int = 200) -> HttpReply:
    """The answer of calls that answer with a sentence: `{"status": text}`."""
    return json_reply(request, {"status": text}, status)


def error_reply(
    request: HttpRequest, error: OnegateError, said: tuple[int, str, str], id: str | None = None
) -> HttpReply:
    """`{"code", "type", "message"}` of `said`: status, name and message."""
    status, kind, message = said
    body = json_text({"code": status, "type": kind, "message": message}).encode()
    headers = [("content-type", "application/json"), *retry_after(error)]
    return reply(status, body, id or request_id(request), headers)


def worded(error: OnegateError, target: Target, manner: Manner) -> tuple[int, str, str]:
    """Status, name and message that tell `error` to whoever called `target`."""
    if isinstance(error, NoSuchRoute):
        return (error.status, *_ROUTES[error.status])
    kind = next((known for known in type(error).__mro__ if known in _NAMES), None)
    status = _STATUSES.get(type(error), status_of(error).http)
    if kind is ModelNotFound:
        return (status, *_not_found(error, target))
    name = _NAMES[kind] if kind is not None else type(error).__name__
    words = _WORDS.get((kind, manner)) if kind is not None and target.model else None
    return status, name, words(error, target) if words else error.message


def _not_found(error: OnegateError, target: Target) -> tuple[str, str]:
    details = error.details
    unknown_model = "model" in details and not ("version" in details or "label" in details)
    if target.version is None or unknown_model:
        return "ModelNotFoundException", f"Model not found: {target.model}" if target.model else error.message
    return (
        "ModelVersionNotFoundException",
        f"Model version: {target.version} does not exist for model: {target.model}; {error.message}",
    )


def _unavailable_in_mms(error: OnegateError, target: Target) -> str:
    return (
        f"No worker is available to serve request for model: {target.model}. Consider increasing job queue size. "
        f"({error.message})"
    )


def _unavailable_in_torchserve(error: OnegateError, target: Target) -> str:
    version = f" Version {target.version}" if target.version else ""
    return (
        f'Model "{target.model}"{version} has no worker to serve inference request. Please use scale workers API to '
        f"add workers. ({error.message})"
    )


_WORDS: dict[tuple[type[OnegateError], Manner], Callable[[OnegateError, Target], str]] = {
    (ModelNotReady, "mms"): _unavailable_in_mms,
    (Overloaded, "mms"): _unavailable_in_mms,
    (ModelNotReady, "torchserve"): _unavailable_in_torchserve,
    (Overloaded, "torchserve"): _unavailable_in_torchserve,
}
