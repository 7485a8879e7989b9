"""The end of `up`: what is under way is answered, and nothing is left behind."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.models import body, write_multiplier, write_slow
from tests.e2e.running import Running, get, running
from tests.serve.waiting import before_long

SLOW_STEPS = 200


def _slow_config(executor: str) -> dict[str, object]:
    return {
        "store": "store",
        "models": [
            {"name": "slow", "source": "slow.onnx", "serve": {"executor": executor, "batching": {"max_batch_size": 4}}}
        ],
    }


def test_a_local_ray_runs_nothing_that_nobody_asks(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "double.onnx", 2.0)
    config = {"store": "store", "models": [{"name": "double", "source": "double.onnx"}]}
    with running(tmp_path, config) as gateway:
        gateway.wait_until_settled()
        started = {Path(argument).name for process in gateway.processes() for argument in process.cmdline()}
    assert "raylet" in started
    assert started.isdisjoint({"monitor.py", "log_monitor.py", "dashboard.py"})


class _Call(threading.Thread):
    """One request in the background."""

    def __init__(self, gateway: Running) -> None:
        super().__init__()
        self._url = f"{gateway.url}/v2/models/slow/infer"
        self.start()

    def run(self) -> None:
        self.outcome = get(self._url, body(7.0))

    def result(self) -> tuple[int, list[float]]:
        self.join()
        status, answer = self.outcome
        return status, json.loads(answer)["outputs"][0]["data"]


@pytest.mark.parametrize(
    ("executor", "number", "group"),
    [
        ("inline", signal.SIGTERM, False),
        ("replicas", signal.SIGTERM, False),
        # As `timeout` and some supervisors send it.
        ("replicas", signal.SIGTERM, True),
        # As a terminal sends Ctrl-C.
        ("replicas", signal.SIGINT, True),
    ],
)
def test_signal_answers_what_is_under_way_and_leaves_nothing(
    tmp_path: Path, executor: str, number: int, group: bool
) -> None:
    write_slow(tmp_path / "slow.onnx", SLOW_STEPS)
    with running(tmp_path, _slow_config(executor)) as gateway:
        gateway.wait_until_settled()
        started = gateway.processes()
        session = [Path(folder) for folder in _temporary_folders(started)]
        calls = [_Call(gateway) for _ in range(2)]
        time.sleep(0.5)
        assert gateway.stop(number, group=group) == 0
        assert [call.result() for call in calls] == [(200, [7.0, 7.0]), (200, [7.0, 7.0])]
        _, alive = psutil.wait_procs(started, timeout=5)
        assert alive == []
        assert session
        assert [folder for folder in session if folder.exists()] == []


def _temporary_folders(processes: list[psutil.Process]) -> set[str]:
    """The private folders of `up`, from the command lines of Ray's processes."""
    words = [word for process in processes for word in process.cmdline() if word.startswith("--session-dir=")]
    return {word.removeprefix("--session-dir=").split("/ray/")[0] for word in words}


def test_down_ends_the_gateway(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    config = {"store": "store", "models": [{"name": "times", "source": "times.onnx"}]}
    with running(tmp_path, config) as gateway:
        gateway.wait_until_settled()
        assert gateway.command("down").returncode == 0
        assert gateway.process.wait(30) == 0


def test_signal_while_a_model_still_loads_ends_cleanly(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    # No machine has so many CPUs: the replica waits for ever.
    serve = {"executor": "replicas", "cpus": 256}
    with running(
        tmp_path, {"store": "store", "models": [{"name": "times", "source": "times.onnx", "serve": serve}]}
    ) as gateway:

        def loads() -> bool:
            try:
                return [row["state"] for row in gateway.rows("times")] == ["LOADING"]
            except OSError:
                return False

        assert before_long(loads)
        time.sleep(3)
        assert gateway.stop() == 0


def test_second_start_with_an_unchanged_config_converts_nothing(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    config = {"store": "store", "models": [{"name": "times", "source": "times.onnx"}]}
    manifests = []
    for _ in range(2):
        with running(tmp_path, dict(config)) as gateway:
            gateway.wait_until_settled()
            assert [(row["version"], row["state"]) for row in gateway.rows("times")] == [(1, "READY")]
            assert gateway.stop() == 0
        manifests.append({path: path.stat().st_mtime_ns for path in tmp_path.glob("store/models/**/*.json")})
    assert manifests[0] == manifests[1]


def test_retired_version_finishes_what_it_has(tmp_path: Path) -> None:
    write_slow(tmp_path / "slow.onnx", SLOW_STEPS)
    with running(tmp_path, _slow_config("replicas")) as gateway:
        gateway.wait_until_settled()
        call = _Call(gateway)
        time.sleep(0.5)
        gateway.config["models"] = []
        gateway.write_config()
        assert gateway.command("apply", "onegate.yaml").returncode == 0
        assert call.result() == (200, [7.0, 7.0])
        assert get(f"{gateway.url}/v2/models/slow/infer", body(1.0))[0] == 404
        end = time.monotonic() + 30
        while gateway.replica_processes("slow") and time.monotonic() < end:
            time.sleep(0.2)
        assert gateway.replica_processes("slow") == []
