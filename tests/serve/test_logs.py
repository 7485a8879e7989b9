"""Lines of all processes in one file, brought to standard error as they come."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serve import logs
from serve.logs import followed, log_to_file
from tests.serve.waiting import PATIENCE_S

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """onegate's logger, put back as it was afterwards."""
    logger = logging.getLogger("onegate")
    before = (logger.handlers[:], logger.propagate, logger.level)
    yield logger
    for handler in logger.handlers:
        if handler not in before[0]:
            handler.close()
    logger.handlers[:], logger.propagate, logger.level = before
    logger.setLevel(before[2])


def shown(capsys: pytest.CaptureFixture[str], condition: Callable[[str], bool]) -> str:
    """Standard error from when `condition` holds."""
    text, end = "", time.monotonic() + PATIENCE_S
    while not condition(text):
        assert time.monotonic() < end, text
        time.sleep(0.01)
        text += capsys.readouterr().err
    return text


def run_twice(code: str, file: Path) -> None:
    """Two processes at once, `one` and `two`, that write to `file`."""
    writers = [subprocess.Popen([sys.executable, "-c", code, str(file), who], cwd=REPOSITORY) for who in ("one", "two")]
    assert [writer.wait(30) for writer in writers] == [0, 0]


def test_warnings_go_to_the_file_with_the_name_of_their_process(tmp_path: Path, logger: logging.Logger) -> None:
    file = tmp_path / "log"
    log_to_file(str(file), "gateway")
    assert not file.exists()
    logger.info("nobody reads this")
    logger.warning("replica %s is gone", "a")
    logger.error("grün")
    lines = file.read_text().splitlines()
    assert len(lines) == 2
    assert_line(lines[0], "WARNING gateway: replica a is gone")
    assert_line(lines[1], "ERROR gateway: grün")


def assert_line(line: str, text: str) -> None:
    stamp, rest = line[:23], line[24:]
    time.strptime(stamp.split(",")[0], "%Y-%m-%d %H:%M:%S")
    assert rest == text


def test_setting_up_twice_writes_lines_once(tmp_path: Path, logger: logging.Logger) -> None:
    for who in ("gateway", "controller"):
        log_to_file(str(tmp_path / "log"), who)
    logger.warning("once")
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert_line(line, "WARNING controller: once")


def test_without_a_file_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str], logger: logging.Logger) -> None:
    log_to_file(None, "gateway")
    logger.warning("here")
    assert_line(capsys.readouterr().err.rstrip("\n"), "WARNING gateway: here")


def test_lines_of_several_processes_are_followed_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys, logging; from serve.logs import log_to_file; log_to_file(*sys.argv[1:])\n"
        "for number in range(200): logging.getLogger('onegate').warning('line %d', number)"
    )
    file = tmp_path / "log"
    with followed(file):
        run_twice(code, file)
    lines = capsys.readouterr().err.splitlines()
    for who in ("one", "two"):
        assert [line[24:] for line in lines if f" {who}: " in line] == [
            f"WARNING {who}: line {number}" for number in range(200)
        ]
    assert len(lines) == 400


def test_a_line_is_shown_while_the_process_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "log"
    with followed(file):
        append(file, "first\n")
        assert shown(capsys, lambda text: "first" in text) == "first\n"
        append(file, "second\n")
        assert shown(capsys, lambda text: "second" in text) == "second\n"


def test_the_last_lines_are_shown_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.logs.FOLLOW_S", 600)
    file = tmp_path / "log"
    start = time.monotonic()
    with followed(file):
        append(file, "last\n")
    assert capsys.readouterr().err == "last\n"
    assert time.monotonic() - start < 60


def test_what_is_no_text_does_not_end_the_following(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "log"
    with followed(file):
        with file.open("ab") as lines:
            lines.write(b"bad \xff\xfe\n")
        append(file, "good\n")
    assert capsys.readouterr().err == "bad \ufffd\ufffd\ngood\n"


def test_a_full_file_is_put_aside_and_no_line_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_FILE_BYTES", 20_000)
    monkeypatch.setattr(logs, "FOLLOW_S", 0.02)
    code = (
        "import sys, logging, time; from serve.logs import log_to_file; log_to_file(*sys.argv[1:])\n"
        "for number in range(400):\n"
        "    logging.getLogger('onegate').warning('line %d %s', number, 'x' * 200); time.sleep(0.001)"
    )
    file = tmp_path / "log"
    with followed(file):
        run_twice(code, file)
    lines = capsys.readouterr().err.splitlines()
    for who in ("one", "two"):
        assert [int(line.split()[5]) for line in lines if f" {who}: " in line] == list(range(400))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    written = sum(len(line) + 1 for line in lines)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < written / 2


def append(file: Path, text: str) -> None:
    with file.open("a") as lines:
        lines.write(text)
