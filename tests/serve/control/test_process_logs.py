"""What the controller tells of logs: of the node's file, and of processes that report their lines."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from serve.control.process_logs import ProcessLogs, WantedLines
from serve.log_lines import LogLine
from serve.logs import UntoldLines


def texts(answer: dict[str, Any]) -> list[str]:
    return [line["text"] for line in answer["lines"]]


def record(text: str, **keys: Any) -> logging.LogRecord:
    return logging.LogRecord("onegate", logging.WARNING, "file", 1, text, (), keys.get("exc_info"))


async def test_lines_of_the_file_are_read_when_somebody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    path = tmp_path / "log"
    logs = ProcessLogs(1000, str(path), UntoldLines("controller"))
    assert await logs.tell(WantedLines()) == {"lines": [], "next": 1000, "epoch": 1000}
    path.write_text("2026-01-02 03:04:05,678 WARNING gateway: one\n")
    answer = await logs.tell(WantedLines())
    assert (texts(answer), answer["next"]) == (["one"], 1001)
    with path.open("a") as file:
        file.write("2026-01-02 03:04:06,678 ERROR m-v1: two\n")
    assert texts(await logs.tell(WantedLines(after=answer["next"]))) == ["two"]
    assert texts(await logs.tell(WantedLines(model="m"))) == ["two"]
    assert texts(await logs.tell(WantedLines(since=1767323046.0))) == ["two"]
    logs.close()


async def test_without_a_file_there_are_reported_lines_and_the_controllers_own() -> None:
    untold = UntoldLines("controller")
    logs = ProcessLogs(0, None, untold)
    logs.hear((LogLine(1.0, "ERROR", "gateway", "one"),))
    untold.handle(record("two"))
    assert texts(await logs.tell(WantedLines())) == ["one", "two"]
    assert untold.lines() == ()
    assert texts(await logs.tell(WantedLines())) == ["one", "two"]
    logs.close()


def test_lines_stay_untold_until_the_controller_has_them() -> None:
    untold = UntoldLines("m-v1")
    untold.handle(record("one"))
    sent = untold.lines()
    untold.handle(record("two"))
    assert [(line.level, line.process, line.text) for line in untold.lines()] == [
        ("WARNING", "m-v1", "one"),
        ("WARNING", "m-v1", "two"),
    ]
    untold.note_told(sent)
    assert [line.text for line in untold.lines()] == ["two"]
    untold.note_told(sent)
    assert [line.text for line in untold.lines()] == ["two"]


def test_untold_lines_are_bounded_and_hold_their_traceback() -> None:
    untold = UntoldLines("gateway")
    for number in range(2000):
        untold.handle(record(str(number)))
    assert [line.text for line in untold.lines()] == [str(number) for number in range(1500, 2000)]
    try:
        raise ValueError("bad")
    except ValueError as error:
        untold.handle(record("failed", exc_info=(type(error), error, error.__traceback__)))
    text = untold.lines()[-1].text
    assert text.startswith("failed\nTraceback")
    assert text.endswith("ValueError: bad")
