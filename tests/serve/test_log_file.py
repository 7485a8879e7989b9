"""The log file, read piece by piece while it grows and is put aside."""

from __future__ import annotations

from pathlib import Path

from serve.log_file import LogFile
from serve.logs import aside

HEAD = "2026-01-02 03:04:05,678 WARNING gateway: "


def write(path: Path, *texts: str, end: str = "\n") -> None:
    with path.open("a") as file:
        file.write("\n".join(HEAD + text for text in texts) + end)


def texts(file: LogFile) -> list[str]:
    return [line.text for line in file.new_lines()]


def test_each_look_gives_what_came_since_the_last(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path)
    assert texts(file) == []
    write(path, "one", "two")
    assert texts(file) == ["one", "two"]
    assert texts(file) == []
    write(path, "three")
    assert texts(file) == ["three"]
    file.close()


def test_a_line_is_given_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path)
    write(path, "one", "tw", end="")
    assert texts(file) == ["one"]
    with path.open("a") as rest:
        rest.write("o\n")
    assert texts(file) == ["two"]
    file.close()


def test_nothing_is_lost_or_given_twice_when_the_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(path)
    write(path, "one")
    assert texts(file) == ["one"]
    write(path, "two")
    path.replace(aside(path))
    write(path, "three")
    assert texts(file) == ["two", "three"]
    # By a process that had the file open.
    write(aside(path), "late")
    assert texts(file) == ["late"]
    path.replace(aside(path))
    write(path, "four")
    assert texts(file) == ["four"]
    file.close()


def test_the_first_look_gives_both_files(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(aside(path), "old")
    write(path, "new")
    file = LogFile(path)
    assert texts(file) == ["old", "new"]
    file.close()
