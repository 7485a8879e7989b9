"""Errors rebuilt from answers: the kind that the answer names, or else the one that its status stands for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from model_store.errors import ERROR_KINDS, InternalError, ModelNotReady, OnegateError, Overloaded, first_line
from serve.errors import ERROR_KIND, STATUSES, read_retry_after

_BY_HTTP: dict[int, type[OnegateError]] = {405: ERROR_KINDS["Unsupported"], 500: InternalError, 502: ModelNotReady}
_BY_GRPC: dict[str, type[OnegateError]] = {"INTERNAL": InternalError, "CANCELLED": ModelNotReady}
# Of the kinds that share a status the table has the one first that callers meet.
for _kind, _status in STATUSES.items():
    _BY_HTTP.setdefault(_status.http, _kind)
    _BY_GRPC.setdefault(_status.grpc, _kind)

_SHARED = ("503", "RESOURCE_EXHAUSTED")
"""Statuses that overload shares with others: overload alone always says when to come again."""


class _Told(msgspec.Struct):
    error: str


_read_told = msgspec.json.Decoder(_Told).decode


def http_refusal(status: int, headers: Mapping[str, str], body: bytes | memoryview) -> OnegateError:
    """The error in a reply, of Open Inference or of `/predict`, or of a proxy in between."""
    try:
        text = _read_told(body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        beginning = first_line(bytes(body[:1000]).decode(errors="replace")) if len(body) else "no body"
        text = f"the endpoint answered with HTTP status {status}: {beginning}"
    return _refusal(_BY_HTTP.get(status), str(status), headers, text)


def grpc_refusal(code: str, text: str, metadata: Mapping[str, str]) -> OnegateError:
    """The error in a gRPC status, with the metadata beside it."""
    return _refusal(_BY_GRPC.get(code), code, metadata, text)


def _refusal(usual: type[OnegateError] | None, status: str, headers: Mapping[str, str], text: str) -> OnegateError:
    """`usual` is the kind that the status stands for, where nothing else is said."""
    details = read_retry_after(headers.get("retry-after"))
    told = ERROR_KINDS.get(headers.get(ERROR_KIND, ""))
    return (told or (Overloaded if details and status in _SHARED else usual or InternalError))(text, **details)
