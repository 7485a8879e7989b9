"""The line that says what is going on."""

from __future__ import annotations

import pytest

from serve.commands.progress import progress

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
