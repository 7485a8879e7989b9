"""A call of the table of behaviours, and the two kinds of client that make it: over HTTP and over gRPC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc
import numpy as np

from tests.serve.behaviours.endpoint import Endpoint
from tests.serve.front_doors.http_calls import call as http_call
from tests.serve.waiting import PATIENCE_S

Body = tuple[bytes, dict[str, str]]
"""A body and the headers that belong to it."""


@dataclass(frozen=True)
class Attempt:
    """One call, by default a right one. `body` stands instead of the right body, `message` instead of the right gRPC
    message; `kind` `manage` asks for a change of the models, `wrong method` and `no such path` do what they say."""

    model: str = "double"
    version: str | None = None
    name: str = "x"
    values: tuple[tuple[Any, ...], ...] = ((1.5, -2.0),)
    datatype: str = "FP32"
    body: bytes | None = None
    message: bytes | None = None
    kind: Literal["infer", "manage", "wrong method", "no such path"] = "infer"


@dataclass(frozen=True)
class Reply:
    """What came back: HTTP status or name of the gRPC code, the parsed body or the text of the error, headers or
    trailers."""

    status: int | str
    body: Any
    headers: Mapping[str, str]


JSON = {"content-type": "application/json"}

# -- HTTP ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HttpClient:
    """One dialect's client. `path` is the call's with `{model}` and `{version}`, `version` what a version adds to it;
    `nowhere` is a path that the dialect hasn't, `manage` a call that changes models. All replies have the headers
    `always`, errors those of `refused` too."""

    path: str
    body: Callable[[Attempt], Body]
    nowhere: str
    version: str = ""
    manage: tuple[str, str] | None = None
    port: Literal["torchserve", "mms"] = "torchserve"
    always: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=lambda: JSON)

    async def attempt(self, endpoint: Endpoint, attempt: Attempt) -> Reply:
        """The reply to `attempt`, binary tensors of v2 read as numbers."""
        method, path = self._target(attempt)
        body, sent = self.body(attempt) if method == "POST" and attempt.kind != "manage" else (None, {})
        if attempt.body is not None:
            body = attempt.body
        status, headers, content = await http_call(getattr(endpoint, self.port), method, path, body, **sent)
        return Reply(status, _parsed(content, headers), headers)

    def _target(self, attempt: Attempt) -> tuple[str, str]:
        if attempt.kind == "manage" and self.manage is not None:
            return self.manage
        if attempt.kind == "no such path":
            return "POST", self.nowhere
        version = self.version.format(attempt.version) if attempt.version else ""
        path = self.path.format(model=attempt.model, version=version)
        return ("DELETE" if attempt.kind == "wrong method" else "POST"), path


def _parsed(content: bytes, headers: Mapping[str, str]) -> Any:
    length = headers.get("inference-header-content-length")
    if length is None:
        return json.loads(content)
    reply, raw = json.loads(content[: int(length)]), content[int(length) :]
    [output] = reply["outputs"]
    output["data"] = np.frombuffer(raw, "<f4").tolist()
    return reply


# -- gRPC ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GrpcClient:
    """One dialect's client. `read` makes of the reply what the table has; `manage` is a call that changes models."""

    method: str
    message: Callable[[Attempt], Any]
    reply: Any
    read: Callable[[Any], Any]
    manage: tuple[str, Any]

    async def attempt(self, endpoint: Endpoint, attempt: Attempt) -> Reply:
        """The reply to `attempt`."""
        method, message = self.manage if attempt.kind == "manage" else (self.method, self.message(attempt))
        if attempt.kind == "no such path":
            method += "Elsewhere"
        data = message.SerializeToString() if attempt.message is None else attempt.message
        async with grpc.aio.insecure_channel(f"127.0.0.1:{endpoint.grpc}") as channel, asyncio.timeout(PATIENCE_S):
            try:
                # Without a deadline of its own, so that the server's is the one that passes.
                reply = await channel.unary_unary(f"/{method}")(data)
            except grpc.aio.AioRpcError as error:
                trailers = {key: str(value) for key, value in error.trailing_metadata() or ()}
                return Reply(error.code().name, error.details(), trailers)
        return Reply("OK", self.read(self.reply.FromString(reply)), {})
