"""`onegate top` against a management port: single frames, and the live view in a terminal of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from serve.cli import main
from serve.commands import top
from tests.serve.live.recorded import STATE, metrics
from tests.serve.management_port import ManagementPort, management_port

ROOT = Path(__file__).parents[2]
FIRST = metrics(digits=100, slow=40, errors=4, unknown=5)
SECOND = metrics(digits=600, slow=80, errors=14, unknown=5)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagementPort]:
    monkeypatch.setattr(top, "ONCE_S", 0.1)
    with management_port() as port:
        port.answers |= {"/api/state": STATE, "/metrics": [FIRST, SECOND]}
        yield port


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["top", *words])


def test_a_single_frame_is_printed(port: ManagementPort) -> None:
    result = run("--once", "--management", port.url)
    assert result.exit_code == 0
    digits, ranker, new = (line.split() for line in result.output.splitlines()[2:])
    assert digits[:4] == ["digits", "1", "READY", "100%"]
    assert float(digits[4]) > 1000
    assert ranker[6:] == ["15", "19.9", "4", "50%", "21", "7", "1/2"]
    assert new[:2] == ["new", "FAILED"]
    assert port.asked == ["/api/state", "/metrics"] * 2


def test_a_frame_for_programs(port: ManagementPort) -> None:
    told = json.loads(run("--json", "--management", port.url).output)
    assert (told["generation"], told["gateways"], told["gateway"]) == (3, 2, STATE["gateway"])
    ranker = told["models"][1]
    assert (ranker["model"], ranker["version"], ranker["state"], ranker["batch_fill"]) == ("ranker", "b", "READY", 0.5)
    assert ranker["requests_per_s"] == pytest.approx(40 / told["span_s"], rel=0.01)


def test_without_metrics_the_state_is_there_and_the_reason(port: ManagementPort) -> None:
    del port.answers["/metrics"]
    told = json.loads(run("--json", "--management", port.url).output)
    assert told["missing"] == f"no figures: {port.url}/metrics: Not Found"
    assert [(row["model"], row["requests_per_s"]) for row in told["models"]] == [
        ("digits", None),
        ("ranker", None),
        ("new", None),
    ]


def test_a_single_frame_without_a_gateway_is_a_failure(free_port: int) -> None:
    result = run("--once", "--management", f"http://127.0.0.1:{free_port}")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert result.output.startswith("onegate: no gateway answers at")


def test_without_a_terminal_it_says_what_to_do(port: ManagementPort) -> None:
    result = run("--management", port.url)
    assert (result.exit_code, "--once" in result.output, port.asked) == (2, True, [])


class Terminal:
    """`onegate top` in a terminal of 100 columns and 20 lines."""

    def __init__(self, url: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from serve.cli import main; main()", "top", "--interval", "0.2"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "ONEGATE_MANAGEMENT": url, "TERM": "xterm"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.text = ""

    def press(self, keys: str) -> None:
        self.text = ""
        os.write(self._master, keys.encode())

    def wait_for(self, pattern: str) -> None:
        end = time.monotonic() + 20
        while not re.search(pattern, self.text, re.DOTALL):
            assert time.monotonic() < end, self.text
            self._read(0.1)

    def _read(self, timeout_s: float) -> None:
        if select.select([self._master], [], [], timeout_s)[0]:
            try:
                self.text += os.read(self._master, 65536).decode(errors="replace")
            except OSError:
                # Linux says so when nobody has the other end open.
                time.sleep(timeout_s)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(ctrl_c: None) -> Iterator[Any]:
    opened: list[Terminal] = []

    def start(url: str) -> Terminal:
        opened.append(Terminal(url))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_the_live_view_follows_keys_and_ends_with_q(terminal: Any, port: ManagementPort) -> None:
    shown = terminal(port.url)
    shown.wait_for(r"MODEL.*digits.*ranker.*q ends")
    shown.press("s")
    shown.wait_for("order: requests")
    shown.press("/rank\r")
    shown.wait_for(r"filter: rank(?!_)")
    shown.wait_for(r"MODEL(?:(?!digits).)*ranker(?:(?!digits).)*order: requests")
    shown.press("q")
    assert shown.process.wait(20) == 0


def test_the_live_view_outlives_the_gateway_and_ends_with_ctrl_c(terminal: Any) -> None:
    with management_port() as port:
        port.answers |= {"/api/state": STATE, "/metrics": FIRST}
        shown = terminal(port.url)
        shown.wait_for("MODEL.*digits")
        number = int(port.url.rpartition(":")[2])
    shown.text = ""
    shown.wait_for("no gateway answers.*trying on")
    with management_port(number) as port:
        port.answers |= {"/api/state": STATE, "/metrics": FIRST}
        shown.text = ""
        shown.wait_for("MODEL.*digits")
        shown.process.send_signal(signal.SIGINT)
        assert shown.process.wait(20) == 0
    shown.wait_for(r"\x1b\[\?1049l")
    assert "Traceback" not in shown.text
