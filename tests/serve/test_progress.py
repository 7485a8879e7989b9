"""The line that says what is going on."""

from __future__ import annotations

import pytest

from serve.commands.progress import QUIET_S, Progress, progress

WITH_BRACKETS = "digits: converting (pip install 'onegate[torch]', see [/usr/share])"


def test_what_stands_in_brackets_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with progress() as line:
        line.show(WITH_BRACKETS)
    assert WITH_BRACKETS in capsys.readouterr().err


def test_where_nobody_looks_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as line:
        line.show(WITH_BRACKETS)
    assert capsys.readouterr().err == ""


def test_a_log_is_told_what_is_new_now_and_then() -> None:
    shown = {
        0.0: "starting Ray",
        1.0: "converting 1 of 2",
        QUIET_S: "converting 2 of 2",
        2 * QUIET_S: "converting 2 of 2",
        3 * QUIET_S: "loading",
    }
    told: list[str] = []
    times = iter(shown)
    line = Progress(told.append, lambda: next(times))
    for text in shown.values():
        line.show(text)
    assert told == ["starting Ray", "converting 2 of 2", "loading"]


def test_a_log_is_told_at_once_what_begins_after_an_end() -> None:
    told: list[str] = []
    line = Progress(told.append, lambda: 0.0)
    line.show("loading")
    line.end()
    line.show("draining")
    assert told == ["loading", "draining"]
