"""What Ray Serve's proxies bring, without Ray: the same door, behind the same guard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from starlette.requests import Request

from serve.dialects.registry import http_dialects
from serve.front_doors.http import HttpFrontDoor
from serve.proxied_gateway import ProxiedDoor
from tests.serve.access.guarded import MAX_BODY_BYTES, REACHED, Ports, guarded

INFER = ("POST", "/v2/models/double/infer")
BODY = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}'


@pytest.fixture
async def ports() -> AsyncIterator[Ports]:
    async with guarded() as ports:
        yield ports


async def ask(
    ports: Ports,
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]] = (),
    body: tuple[bytes, ...] = (b"",),
    end: str | None = "http.request",
    timeout_s: float = 20,
) -> tuple[int, str]:
    """Status and what is said; `end` is the message behind the body, None for a client that stays silent."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": part, "more_body": True} for part in body]
    if end is not None:
        messages.append({"type": end})

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    door = HttpFrontDoor(http_dialects("torchserve"), ports.nobody.answer, MAX_BODY_BYTES, guard=ports.guard)
    reply = await ProxiedDoor(door, timeout_s).answer(Request(scope, receive))
    return reply.status_code, bytes(reply.body).decode()


async def test_a_call_without_a_key_is_refused_and_one_with_a_key_let_in(ports: Ports) -> None:
    key = ports.keys.key("infer:double")
    assert (await ask(ports, *INFER, body=(BODY,)))[0] == 401
    assert ports.nobody.asked == []
    status, said = await ask(ports, *INFER, [("authorization", f"Bearer {key}")], (BODY[:9], BODY[9:]))
    assert (status, json.loads(said)["error"]) == (501, REACHED)


async def test_a_header_that_comes_twice_is_no_key(ports: Ports) -> None:
    key = ("x-api-key", ports.keys.key("infer"))
    assert (await ask(ports, *INFER, [key], (BODY,)))[0] == 501
    assert (await ask(ports, *INFER, [key, key], (BODY,)))[0] == 401


async def test_a_body_is_bounded_in_bytes_and_time(ports: Ports) -> None:
    key = [("x-api-key", ports.keys.key("infer"))]
    assert (await ask(ports, *INFER, key, (bytes(MAX_BODY_BYTES), b"1")))[0] == 413
    assert (await ask(ports, *INFER, key, (BODY[:9],), end=None, timeout_s=0.01))[0] == 408


async def test_a_client_that_leaves_in_its_body_is_no_error_of_the_server(
    ports: Ports, caplog: pytest.LogCaptureFixture
) -> None:
    key = [("x-api-key", ports.keys.key("infer"))]
    assert (await ask(ports, *INFER, key, (BODY[:9],), end="http.disconnect"))[0] == 400
    assert caplog.records == []
