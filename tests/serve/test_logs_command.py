"""`onegate logs` against a management port, as a process of its own where it follows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from serve.cli import main
from tests.serve.management_port import ManagementPort, management_port

ONEGATE = [sys.executable, "-c", "from serve.cli import main; main()"]
ROOT = Path(__file__).parents[2]


def line(second: int, text: str, process: str = "gateway") -> dict[str, str]:
    return {"time": f"2026-01-02T03:04:{second:02}.000Z", "level": "WARNING", "process": process, "text": text}


def answer(*lines: dict[str, str], after: int, epoch: int = 1) -> dict[str, Any]:
    return {"lines": list(lines), "next": after, "epoch": epoch}


@pytest.fixture
def port() -> Iterator[ManagementPort]:
    with management_port() as port:
        yield port


def run(port: ManagementPort, *words: str) -> Result:
    return CliRunner().invoke(main, ["logs", *words, "--management", port.url])


def test_lines_are_shown_and_printed_for_programs(port: ManagementPort) -> None:
    port.answers["/api/logs"] = answer(line(1, "one"), line(2, "two", "m-v1"), after=2)
    result = run(port)
    assert (result.exit_code, result.output.splitlines()) == (
        0,
        ["2026-01-02T03:04:01.000Z WARNING gateway: one", "2026-01-02T03:04:02.000Z WARNING m-v1: two"],
    )
    printed = [json.loads(text) for text in run(port, "--json").output.splitlines()]
    assert printed == [line(1, "one"), line(2, "two", "m-v1")]


def test_what_clients_have_sent_does_not_move_the_terminal(port: ManagementPort) -> None:
    port.answers["/api/logs"] = answer(line(1, "\x1b[2Jgrün\n\tbelow"), after=1)
    assert run(port).output == "2026-01-02T03:04:01.000Z WARNING gateway: \\x1b[2Jgrün\n\tbelow\n"


def test_model_time_and_count_are_passed_on(port: ManagementPort) -> None:
    port.answers["/api/logs"] = answer(line(1, "one"), after=1)
    before = datetime.now(UTC)
    assert run(port, "m", "--since", "10m", "--limit", "5").exit_code == 0
    asked = parse_qs(urlsplit(port.asked[0]).query)
    assert (asked["model"], asked["limit"]) == (["m"], ["5"])
    since = datetime.fromisoformat(asked["since"][0])
    assert timedelta(0) <= since - (before - timedelta(minutes=10)) < timedelta(seconds=10)
    run(port, "--since", "2026-01-02T03:04:05")
    assert parse_qs(urlsplit(port.asked[1]).query)["since"] == ["2026-01-02T03:04:05+00:00"]


def test_a_model_without_lines_is_an_error_only_where_nobody_knows_it(port: ManagementPort) -> None:
    port.answers["/api/state"] = {"models": [{"name": "m"}]}
    port.answers["/api/logs"] = answer(after=0)
    assert (run(port, "m").exit_code, run(port, "m").output) == (0, "")
    for words in (["nope"], ["nope", "--follow"]):
        result = run(port, *words)
        assert (result.exit_code, result.output) == (1, "onegate: model 'nope' is not served here; models: m\n")


def test_a_model_that_is_gone_may_have_older_lines_than_asked_for(port: ManagementPort) -> None:
    port.answers["/api/state"] = {"models": []}
    port.answers["/api/logs"] = [answer(after=1), answer(line(1, "one"), after=1)]
    result = run(port, "gone", "--since", "10m")
    assert (result.exit_code, result.output) == (0, "")


def test_a_wrong_time_is_wrong_usage(port: ManagementPort) -> None:
    result = run(port, "--since", "yesterday")
    assert (result.exit_code, port.asked) == (2, [])
    assert "expected a time as 2026-01-02T03:04:05Z, or a number and d, h, m or s" in result.output


def test_without_a_gateway_it_says_so(free_port: int) -> None:
    result = CliRunner().invoke(main, ["logs", "--management", f"http://127.0.0.1:{free_port}"])
    assert result.exit_code == 1
    assert result.output.startswith(f"onegate: no gateway answers at http://127.0.0.1:{free_port}")
    assert result.output.endswith("? --management URL or ONEGATE_MANAGEMENT names another\n")


@pytest.fixture
def following(ctrl_c: None) -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def start(url: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [*ONEGATE, "logs", "--follow", "--management", url],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_following_outlives_the_gateway_and_tells_each_line_once(following: Any) -> None:
    with management_port() as port:
        port.answers["/api/logs"] = [
            answer(line(1, "one"), after=1),
            answer(line(2, "two"), after=2),
            answer(after=2),
        ]
        process = following(port.url)
        assert [process.stdout.readline()[:-1].split(": ")[1] for _ in range(2)] == ["one", "two"]
        number = int(port.url.rpartition(":")[2])
    assert "no gateway answers" in process.stderr.readline()
    with management_port(number) as port:
        # Another controller, which has read the file from its beginning.
        port.answers["/api/logs"] = [
            answer(line(1, "one"), line(2, "two"), line(3, "three"), after=12, epoch=10),
            answer(after=12, epoch=10),
        ]
        assert process.stdout.readline() == "2026-01-02T03:04:03.000Z WARNING gateway: three\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
