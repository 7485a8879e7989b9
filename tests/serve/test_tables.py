"""Tables of the commands."""

from __future__ import annotations

import pytest

from serve.commands.tables import console, model_table


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
