"""Tables of the commands."""

from __future__ import annotations

import pytest

from serve.commands.tables import console, headed, model_table


def test_what_stands_in_brackets_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "name": "digits",
        "version": None,
        "called": None,
        "framework": None,
        "runtime": None,
        "max_rel_error": None,
        "executor": None,
        "state": "FAILED",
        "default": False,
        "reason": "the library 'torch' is not installed here: pip install 'onegate[torch]'",
    }
    console().print(model_table({"gateway": {"http": "http://127.0.0.1:8080"}, "models": [row]}))
    assert capsys.readouterr().out.splitlines()[1].endswith("not installed here: pip install 'onegate[torch]'")


def test_what_stands_between_colons_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    table = headed("NAME")
    table.add_row("at :lock: noon")
    console().print(table)
    assert capsys.readouterr().out.splitlines() == ["NAME          ", "at :lock: noon"]


def test_a_cell_that_is_too_wide_is_cut_and_a_folded_one_goes_on_below(capsys: pytest.CaptureFixture[str]) -> None:
    cut, folded = headed("NAME"), headed("WHY", folded=("WHY",))
    cut.add_row("n" * 250)
    folded.add_row("w" * 250)
    console().print(cut)
    console().print(folded)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["NAME", "n" * 199 + "…", "WHY", "w" * 200, "w" * 50]
