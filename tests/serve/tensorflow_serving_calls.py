"""TensorFlow Serving's REST API on a real socket, over models that were never TensorFlow's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from serve.dialects.base import HttpRequest
from serve.dialects.tensorflow_serving_rest import TensorFlowServingRest
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from tests.serve.front_doors.http_calls import call
from tests.serve.tensorflow_serving_models import dispatcher

MAX_BODY_BYTES = 100_000
JSON = "application/json"


@asynccontextmanager
async def listening(port: int) -> AsyncIterator[None]:
    """An endpoint for TensorFlow Serving's clients, with the models of `tensorflow_serving_models`."""
    door = HttpFrontDoor([TensorFlowServingRest()], dispatcher().answer, MAX_BODY_BYTES)
    listener = HttpListener(door, "127.0.0.1", port)
    listener.start()
    try:
        yield
    finally:
        await listener.stop()


async def ask(port: int, path: str, body: Any = None, method: str | None = None) -> tuple[int, Any]:
    """Status and JSON of a call; a body that is no bytes is sent as JSON."""
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    verb = method or ("GET" if body is None else "POST")
    status, headers, answer = await call(port, verb, f"/v1/models/{path}", content)
    assert headers["content-type"] == JSON
    return status, json.loads(answer)


def request(method: str, path: str, body: bytes = b"") -> HttpRequest:
    return HttpRequest(method, path, body, {}.get)
