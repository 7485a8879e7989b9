"""Handlers that end, hang or don't come up again, and what their requests are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from model_store.errors import DeadlineExceeded, InternalError, ModelNotReady
from serve.runtimes.handler_process import HandlerCommand
from serve.runtimes.handler_supervision import HandlerSupervisor
from tests.serve.handler_archives import OBEDIENT, Start, ask, folder_of, said, starting
from tests.serve.waiting import before_long


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with starting(tmp_path) as start:
        yield start


@pytest.mark.parametrize("server", ["mms", "torchserve"])
@pytest.mark.parametrize(
    "code",
    [b"os._exit(3)", b"os.abort()", b"sys.exit(0)", b"if os.fork():\n  os._exit(4)\nelse:\n  time.sleep(60)"],
    ids=["exit", "abort", "SystemExit", "leaving a process that holds the socket"],
)
def test_a_handler_that_ends_fails_its_batch_and_a_new_one_answers_the_next(
    start: Start, server: str, code: bytes
) -> None:
    runtime = start(server=server)
    first = runtime.pid
    assert said(runtime, code) == (500, "InternalServerException", "Worker died.")
    (answer,) = ask(runtime, b"")
    assert (answer.status, int(answer.body)) == (200, runtime.pid)
    assert runtime.pid != first


def test_a_handler_that_is_killed_is_told_as_out_of_memory(start: Start) -> None:
    assert said(start(), b"os.kill(os.getpid(), signal.SIGKILL)") == (507, "InternalServerException", "Worker died.")


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("mms", (408, "RequestTimeoutException", "Worker response timed out.")),
        ("torchserve", (500, "InternalServerException", "Worker died.")),
    ],
)
def test_a_batch_that_takes_too_long_ends_the_handler(
    start: Start, server: str, expected: tuple[int, str, str]
) -> None:
    runtime = start(server=server, response_timeout_s=0.3)
    first = runtime.pid
    assert first is not None
    assert said(runtime, b"time.sleep(60)") == expected
    assert not psutil.pid_exists(first)
    assert ask(runtime, b"")[0].status == 200


def test_a_handler_that_died_between_batches_costs_no_request(start: Start) -> None:
    runtime = start()
    assert runtime.pid is not None
    process = psutil.Process(runtime.pid)
    process.kill()
    # Its first thread may be a zombie while others still end: only then can it be waited for.
    assert before_long(lambda: process.status() == psutil.STATUS_ZOMBIE and process.num_threads() == 1)
    assert ask(runtime, b"")[0].status == 200


def test_while_a_handler_that_dies_again_and_again_is_down_requests_are_refused(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / "loaded once"
    code = f"""
        import os
        if os.path.exists({str(marker)!r}):
            raise OSError("weights are gone")
        open({str(marker)!r}, "w").close()
        def handle(data, context):
            if data is not None:
                os._exit(1)
    """
    runtime = start(code)
    assert said(runtime, b"")[0] == 500
    assert said(runtime, b"") == (
        503,
        "ServiceUnavailableException",
        "No worker is available to serve request for model: echo. Consider increasing job queue size.",
    )
    assert runtime.pid is None
    assert before_long(lambda: "OSError: weights are gone (service.py:3)" in caplog.text)
    marker.unlink()
    assert before_long(lambda: runtime.pid is not None)


def test_torchserves_handler_that_is_down_has_its_own_words(start: Start) -> None:
    runtime = start(server="torchserve")
    runtime.close()
    assert said(runtime, b"")[2] == (
        'Model "echo" has no worker to serve inference request. Please use scale workers API to add workers.'
    )


def test_two_threads_take_turns(start: Start) -> None:
    code = """
        import time
        busy = False
        def handle(data, context):
            global busy
            if data is None:
                return None
            assert not busy
            busy = True
            time.sleep(0.01)
            busy = False
            return [data[0]["body"]]
    """
    runtime = start(code)
    with ThreadPoolExecutor(4) as pool:
        bodies = [b"%d" % i for i in range(20)]
        assert [answers[0].body for answers in pool.map(lambda body: ask(runtime, body), bodies)] == bodies


def supervisor(folder: Path, code: str, **command: Any) -> HandlerSupervisor:
    folder_of(folder, {"service.py": code})
    start = {
        "server": "mms", "entry": "service.py", "legacy": False, "model_dir": str(folder), "model_name": "m",
        "manifest": None, "config": {}, "batch_size": 1, "gpu_id": None,
    }  # fmt: skip
    return HandlerSupervisor(HandlerCommand(sys.executable, folder, start, "m v1", **command))


def test_a_handler_that_takes_too_long_to_load_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotReady, match=r"^m v1: the handler did not start: no answer within 0.3 s"):
        supervisor(tmp_path, "import time; time.sleep(60)", start_timeout_s=0.3)


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    command = HandlerCommand("/no/such/python", tmp_path, {"model_dir": str(tmp_path)}, "m v1")
    with pytest.raises(ModelNotReady, match=r"^m v1: '/no/such/python' can't be started: No such file or directory$"):
        HandlerSupervisor(command)


def test_the_kinds_of_failure_are_told_apart(tmp_path: Path) -> None:
    handler = supervisor(tmp_path, OBEDIENT)
    row = {"id": "1", "headers": {}, "parameters": [["body", None]]}
    batch = {"kind": "batch", "rows": [row]}
    with pytest.raises(DeadlineExceeded, match=r"^no answer within 0.2 s"):
        handler.exchange(batch, [b"time.sleep(60)"], 0.2)
    answer, bodies = handler.exchange(batch, [b""], 10)
    assert (answer["rows"][0]["status"], bodies) == (200, [str(handler.pid).encode()])
    with pytest.raises(InternalError, match=r"^its process ended with exit code 7$") as caught:
        handler.exchange(batch, [b"os._exit(7)"], 10)
    assert caught.value.details == {"exit_code": 7}
    handler.close()
    with pytest.raises(ModelNotReady, match="is down"):
        handler.exchange(batch, [b""], 10)
