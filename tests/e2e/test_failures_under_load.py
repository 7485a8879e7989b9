"""What clients see while versions change and replicas die: nothing, within their deadline."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.e2e.load import SteadyLoad
from tests.e2e.models import body, write_multiplier
from tests.e2e.running import Running, running


def _config(replicas: int) -> dict[str, object]:
    executor = {"executor": "replicas", "replicas": replicas} if replicas else {"executor": "inline"}
    return {"store": "store", "models": [{"name": "times", "source": "times.onnx", "serve": executor}]}


def _wait_for_replicas(gateway: Running, ready: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if all(row["replicas"]["ready"] == ready for row in gateway.rows("times")):
            return
        time.sleep(0.1)
    raise AssertionError(gateway.state())


@pytest.mark.parametrize("replicas", [0, 2], ids=["inline", "two_replicas"])
def test_apply_of_a_changed_model_under_load_fails_no_request(tmp_path: Path, replicas: int) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    with running(tmp_path, _config(replicas)) as gateway:
        gateway.wait_until_settled()
        with SteadyLoad(f"{gateway.url}/v2/models/times/infer", body(1.0)) as load:
            time.sleep(2)
            write_multiplier(tmp_path / "times.onnx", 3.0)
            applied = gateway.command("apply", "onegate.yaml")
            assert applied.returncode == 0, applied.stderr
            time.sleep(2)
            outcomes = load.stop()
        assert outcomes.failures == []
        assert set(outcomes.answers) == {2.0, 3.0}
        assert [(row["version"], row["state"], row["traffic"]) for row in gateway.rows("times")] == [(2, "READY", 100)]


@pytest.mark.parametrize("replicas", [1, 2])
def test_kill_9_of_a_model_replica_under_load_fails_no_request(tmp_path: Path, replicas: int) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    with running(tmp_path, _config(replicas)) as gateway:
        gateway.wait_until_settled()
        _wait_for_replicas(gateway, replicas)
        with SteadyLoad(f"{gateway.url}/v2/models/times/infer", body(1.0)) as load:
            time.sleep(2)
            victims = gateway.replica_processes("times")
            assert len(victims) == replicas
            victims[0].send_signal(signal.SIGKILL)
            time.sleep(10)
            outcomes = load.stop()
        assert outcomes.failures == []
        assert set(outcomes.answers) == {2.0}
        assert outcomes.count > 2000
        assert len(gateway.replica_processes("times")) == replicas
