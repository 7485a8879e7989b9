"""Calls of the endpoint that come through the controller: how many, for how long, and what is told of each failure."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_store.access_keys import make_key
from model_store.errors import DeadlineExceeded, ModelNotReady, Overloaded
from serve.access.guard import Guard
from serve.config_sections.access import AccessConfig
from serve.dialects.base import HttpReply
from serve.dialects.registry import http_dialects
from serve.front_doors.http import HttpFrontDoor
from serve.handed_calls import AT_ONCE, GatewayCalls, HandedCall, answered
from tests.serve.served_models import serving
from tests.serve.tiny_versions import dispatcher_of, entry

CALL = HandedCall("POST", "/predict/double", b"[[1, 2]]", {"content-type": "application/json"})


class Gateway:
    """Stands for Ray Serve's handle of the gateways."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.answer_handed = self

    async def remote(self, call: HandedCall) -> HttpReply:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return HttpReply(200, call.body)


async def test_a_call_is_answered_by_the_endpoint_s_own_dialects(tmp_path: Path, free_port: int) -> None:
    async with serving(tmp_path, free_port, http_dialects("torchserve")) as dispatcher:
        door = HttpFrontDoor(http_dialects("torchserve"), dispatcher.answer, 1000)
        reply = await answered(door, CALL)

        assert (reply.status, json.loads(reply.body)["outputs"]) == (200, {"y": [[2.0, 4.0]]})
        assert pickle.loads(pickle.dumps(reply)) == reply


async def test_an_error_is_answered_as_the_dialect_tells_it() -> None:
    door = HttpFrontDoor(http_dialects("torchserve"), dispatcher_of(entry()).answer, 1000)
    absent = HandedCall("POST", "/v2/models/absent/infer", b'{"inputs": []}', {})

    reply = await answered(door, absent)

    assert reply.status == 404
    assert "absent" in json.loads(reply.body)["error"]


async def test_a_page_that_a_handler_answers_can_do_nothing(tmp_path: Path, free_port: int) -> None:
    page = HandedCall("POST", "/predict/echo", b"<script>alert(1)</script>", {"content-type": "text/html"})
    async with serving(tmp_path, free_port, http_dialects("torchserve")) as dispatcher:
        door = HttpFrontDoor(http_dialects("torchserve"), dispatcher.answer, 1000)
        reply = await answered(door, page)

    assert (reply.body, dict(reply.headers)["content-type"]) == (page.body, "text/html")
    assert dict(reply.headers)["content-security-policy"] == "sandbox; default-src 'none'"
    assert dict(reply.headers)["x-content-type-options"] == "nosniff"


async def test_the_gateway_s_guard_has_the_last_word() -> None:
    guard = Guard(AccessConfig(anonymous=[]))
    (mine, text), (other, other_text) = make_key("a", ["infer:double"]), make_key("b", ["infer:other"])
    guard.take_over([mine, other])
    door = HttpFrontDoor(http_dialects("torchserve"), dispatcher_of(entry()).answer, 1000, guard=guard)

    def call(key: str) -> HandedCall:
        return msgspec.structs.replace(CALL, headers=CALL.headers | {"authorization": f"Bearer {key}"})

    assert (await answered(door, CALL)).status == 401
    assert (await answered(door, call(other_text))).status == 403
    assert (await answered(door, call(text))).status == 200


async def test_few_calls_are_handed_on_at_once() -> None:
    gateway = Gateway()
    calls = GatewayCalls(gateway)
    under_way = [asyncio.create_task(calls.answer(CALL)) for _ in range(AT_ONCE)]
    await asyncio.sleep(0)

    with pytest.raises(Overloaded, match="4 calls go through the management port and at most 4 may"):
        await calls.answer(CALL)

    gateway.gate.set()
    assert [reply.status for reply in await asyncio.gather(*under_way)] == [200] * AT_ONCE
    assert (await calls.answer(CALL)).body == CALL.body


async def test_a_gateway_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    with pytest.raises(DeadlineExceeded, match=r"no gateway answered within 0.01 s"):
        await GatewayCalls(Gateway(), answer_s=0.01).answer(CALL)


async def test_a_gateway_that_died_is_told_without_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    gateway: Any = Gateway()
    gateway.error = RuntimeError("the actor died: /secret/path")
    gateway.gate.set()

    with caplog.at_level(logging.WARNING), pytest.raises(ModelNotReady, match=r"^no gateway answers; try again$"):
        await GatewayCalls(gateway).answer(CALL)
    assert caplog.messages == ["a call got no answer from a gateway: RuntimeError"]
