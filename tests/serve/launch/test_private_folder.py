"""The private folder in which `up` runs."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.launch.private_folder import private_folder


@pytest.fixture
def process_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Lets a test change folders and paths of this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    yield
    tempfile.tempdir = None


@pytest.mark.usefixtures("process_state")
def test_everything_temporary_lies_in_a_folder_that_goes_away(tmp_path: Path) -> None:
    with private_folder() as folder:
        assert folder.parent == tmp_path
        assert Path.cwd() == folder / "work"
        assert os.environ["TMPDIR"] == str(folder / "tmp")
        assert stat_mode(folder) == 0o700
        (folder / "tmp" / "left").write_text("behind")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("process_state")
def test_the_folder_that_the_command_was_typed_in_is_not_on_the_path(tmp_path: Path) -> None:
    with private_folder():
        assert "" not in sys.path
        assert str(tmp_path) not in sys.path
        assert sys.path != []


@pytest.mark.usefixtures("process_state")
def test_the_folder_goes_away_after_a_failure_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), private_folder():
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


def stat_mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777
