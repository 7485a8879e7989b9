"""Lines of the audit log about who was not let in at the management port: which, and how many at most."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import Forbidden, InvalidInput, Unauthenticated
from serve.access.audit import AuditLog
from serve.access.callers import Caller
from serve.access.refused import RefusedCalls
from serve.access.scopes import Grants
from serve.dialects.base import HttpRequest
from serve.inference import InferenceRequest, ServerQuery
from serve.operations import ReplaceModels, UnloadModel
from tests.serve.access.guarded import Ports, ask, bearer, guarded

SHOP = Caller("key:shop", Grants(["infer"]))
NOBODY = Caller("", Grants([]))


class Log:
    """An audit log, the refused calls that it gets, and a clock."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.audit = AuditLog(str(file), lambda: 7)
        self.now = 0.0
        self.refused = RefusedCalls(self.audit, lambda: self.now)

    def lines(self) -> list[dict[str, Any]]:
        """What is written, which ends the log."""
        self.audit.close()
        found = [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []
        for line in found:
            del line["time"]
        return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "audit.jsonl")
    yield log
    log.audit.close()


def request(path: str = "/api/config", caller: Caller | None = None) -> HttpRequest:
    return HttpRequest("PUT", path, b"", {}.get, caller=caller)


async def knocks(ports: Ports) -> list[int]:
    """Statuses of what callers ask who may not."""
    view, infer = bearer(ports.keys.key("view")), bearer(ports.keys.key("infer"))
    asked = [
        await ask(ports.management, "GET", "/api/state"),
        await ask(ports.management, "PUT", "/api/config", b"{}", bearer("og_0.wrong")),
        await ask(ports.management, "PUT", "/api/config", b"{}", view),
        await ask(ports.management, "POST", "/v2/repository/models/net/unload", b"{}", infer),
        await ask(ports.management, "POST", "/v2/repository/index", b"{}"),
        await ask(ports.management, "GET", "/api/state", headers=view),
        await ask(ports.management, "GET", "/v2/health/live"),
    ]
    return [reply.status for reply in asked]


async def test_calls_that_are_not_let_in_are_noted_and_others_are_not(log: Log) -> None:
    async with guarded(refused=log.refused) as ports:
        assert await knocks(ports) == [401, 401, 403, 403, 401, 501, 501]
    none = "expected `Authorization: Bearer KEY` or `X-API-Key: KEY`, got none"
    assert [(line["caller"], line["what"], line["models"]) for line in log.lines()] == [
        ("", "GET /api/state", []),
        ("", "PUT /api/config", []),
        ("key:k0", "PUT /api/config", []),
        ("key:k1", "UnloadModel", ["net"]),
        ("", "POST /v2/repository/index", []),
    ]
    first = json.loads(log.file.read_text().splitlines()[0])
    assert first["outcome"] == f"Unauthenticated: the call needs a key with the scope view: {none}"
    assert first["generation"] == 7
    assert "left_out" not in first


async def test_a_page_of_another_origin_that_is_refused_is_noted(log: Log) -> None:
    async with guarded(["view", "manage"], refused=log.refused) as ports:
        reply = await ask(ports.management, "POST", "/api/shutdown", headers=[("origin", "https://evil.example")])
        assert reply.status == 403
    [line] = log.lines()
    assert (line["caller"], line["what"], line["outcome"].partition(":")[0]) == ("", "POST /api/shutdown", "Forbidden")


def test_an_attacker_does_not_fill_the_disk(log: Log) -> None:
    for _ in range(10_000):
        log.refused.note_request(request("/" + "x" * 8000), Unauthenticated("who"))
    log.now = 60.0
    log.refused.note_request(request(), Unauthenticated("who"))
    log.refused.note_request(request(), Unauthenticated("who"))
    log.refused.close()
    lines = log.lines()
    assert len(lines) == 102
    assert log.file.stat().st_size < 102 * 500
    assert [line.get("left_out") for line in lines[-2:]] == [9900, 1]
    assert (lines[-1]["what"], lines[-1]["outcome"]) == ("refused calls", "left out")


def test_who_knocks_without_a_key_does_not_hide_who_has_one(log: Log) -> None:
    for _ in range(1000):
        log.refused.note_request(request(), Unauthenticated("who"))
    log.refused.note_query(SHOP, UnloadModel(model="net"), Forbidden("no"))
    assert [(line["caller"], line["models"], line.get("left_out")) for line in log.lines()[-1:]] == [
        ("key:shop", ["net"], 900)
    ]


def test_other_errors_are_no_refusals(log: Log) -> None:
    log.refused.note_request(request(), InvalidInput("no config"))
    log.refused.close()
    assert log.lines() == []


def test_what_a_caller_chose_is_cut(log: Log) -> None:
    log.refused.note_query(NOBODY, ServerQuery(), Unauthenticated("who"))
    log.refused.note_query(SHOP, InferenceRequest("m" * 5000), Forbidden("no"))
    log.refused.note_query(SHOP, ReplaceModels(models=tuple({"name": f"m{n}"} for n in range(50))), Forbidden("no"))
    assert [(line["what"], line["models"]) for line in log.lines()] == [
        ("ServerQuery", []),
        ("InferenceRequest", ["m" * 200]),
        ("ReplaceModels", [f"m{n}" for n in range(10)]),
    ]
