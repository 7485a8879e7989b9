"""The audit log: a line for each call that changes something, whatever became of it and of who asked."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model_store.errors import Forbidden, InternalError
from serve.access.audit import AuditedAdministration, AuditLog
from serve.caller import CALLER
from serve.operations import (
    InspectModel,
    ListModels,
    LoadModel,
    ModelList,
    ModelStatus,
    Operation,
    ReplaceModels,
    UnloadModel,
)
from tests.serve.waiting import PATIENCE_S


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def audit(file: Path) -> Iterator[AuditLog]:
    audit = AuditLog(str(file), lambda: 7)
    yield audit
    audit.close()


def lines(file: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    for line in found:
        assert datetime.now(UTC) - datetime.fromisoformat(line.pop("time")) < timedelta(minutes=1)
    return found


async def applied() -> str:
    return "plan"


async def answered(operation: Operation) -> ModelList:
    if isinstance(operation, UnloadModel):
        raise Forbidden("it answers by default")
    return ModelList((ModelStatus("net"),))


async def test_a_call_is_noted_with_who_asked_and_what_became_of_it(file: Path, audit: AuditLog) -> None:
    CALLER.set("key:ops")

    assert await audit.noted("apply", ["b", "a"], applied()) == "plan"
    assert lines(file) == [
        {"caller": "key:ops", "what": "apply", "models": ["b", "a"], "outcome": "done", "generation": 7}
    ]


async def test_operations_that_change_something_are_noted_and_others_are_not(file: Path, audit: AuditLog) -> None:
    administration = AuditedAdministration(answered, audit)
    for operation in (ListModels(), InspectModel(model="net"), LoadModel(source="net.mar")):
        assert await administration.answer(operation) == ModelList((ModelStatus("net"),))
    with pytest.raises(Forbidden, match="it answers by default"):
        await administration.answer(UnloadModel(model="old"))
    await administration.answer(ReplaceModels(models=({"name": "x"},)))

    assert [(line["what"], line["models"], line["outcome"]) for line in lines(file)] == [
        ("LoadModel", ["net"], "done"),
        ("UnloadModel", ["old"], "Forbidden: it answers by default"),
        ("ReplaceModels", ["net", "x"], "done"),
    ]


async def test_a_call_that_nobody_waits_for_any_more_is_noted_when_it_ends(file: Path, audit: AuditLog) -> None:
    gate = asyncio.Event()

    async def slow() -> str:
        await gate.wait()
        return "done"

    asked = asyncio.ensure_future(audit.noted("apply", (), slow()))
    await asyncio.sleep(0)
    asked.cancel()
    with suppress(asyncio.CancelledError):
        await asked
    assert lines(file) == []
    gate.set()
    async with asyncio.timeout(PATIENCE_S):
        while not lines(file):  # noqa: ASYNC110 - a thread writes it
            await asyncio.sleep(0.005)
    assert [line["outcome"] for line in lines(file)] == ["done"]


async def test_an_internal_error_is_noted_under_the_id_that_the_caller_gets(file: Path, audit: AuditLog) -> None:
    async def broken() -> None:
        raise KeyError("secret")

    with pytest.raises(InternalError) as raised:
        await audit.noted("apply", (), broken())
    assert [line["outcome"] for line in lines(file)] == [f"InternalError: {raised.value.message}"]


async def test_many_calls_at_once_are_whole_lines(file: Path, audit: AuditLog) -> None:
    names = [f"m{number}\n\u2028" for number in range(200)]
    await asyncio.gather(*(audit.noted("apply", [name], applied()) for name in names))

    assert sorted(line["models"][0] for line in lines(file)) == sorted(names)


async def test_only_the_owner_may_read_it(file: Path, audit: AuditLog) -> None:
    await audit.noted("apply", (), applied())

    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600


async def test_a_log_that_can_not_be_written_is_told_and_the_call_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audit = AuditLog(str(tmp_path / "absent" / "audit.jsonl"), lambda: 1)
    with caplog.at_level(logging.ERROR, "onegate"):
        assert await audit.noted("apply", ["m"], applied()) == "plan"
    audit.close()

    assert "can't be written" in caplog.text
    assert '"what": "apply", "models": ["m"]' in caplog.text
