"""What clients see while versions change and replicas die: nothing, within their deadline."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.load import SteadyLoad
from tests.e2e.models import body, write_multiplier
from tests.e2e.running import Running, get, running


def _config(replicas: int) -> dict[str, object]:
    executor = {"executor": "replicas", "replicas": replicas} if replicas else {"executor": "inline"}
    return {"store": "store", "models": [{"name": "times", "source": "times.onnx", "serve": executor}]}


def _wait_for_replicas(gateway: Running, ready: int) -> None:
    """Management may be away meanwhile."""
    end = time.monotonic() + 30
    rows: object = None
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            rows = gateway.rows("times")
            if [(row["state"], row["replicas"]["ready"]) for row in gateway.rows("times")] == [("READY", ready)]:
                return
        time.sleep(0.1)
    raise AssertionError(rows)


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


def test_kill_9_of_the_controller_under_load_fails_no_request_and_it_comes_back(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    config = _config(1) | {"gateway": {"management_on_endpoint": True}}
    with running(tmp_path, config) as gateway, ThreadPoolExecutor(1) as caller:
        gateway.wait_until_settled()
        replicas = [process.pid for process in gateway.replica_processes("times")]
        [controller] = gateway.serve_processes("onegate-controller", "Controller")
        with SteadyLoad(f"{gateway.url}/v2/models/times/infer", body(1.0)) as load:
            time.sleep(1)
            register = f"{gateway.url}/models?url={tmp_path}/times.onnx&model_name=second&initial_workers=1"
            registering = caller.submit(get, f"{register}&synchronous=true", b"")
            while not gateway.rows("second"):
                time.sleep(0.02)
            controller.send_signal(signal.SIGKILL)
            controller.wait(10)
            status, answer = registering.result(30)
            assert (status, json.loads(answer)["type"]) == (503, "ServiceUnavailableException")
            _wait_for_replicas(gateway, 1)
            write_multiplier(tmp_path / "times.onnx", 3.0)
            assert gateway.command("apply", "onegate.yaml").returncode == 0
            time.sleep(1)
            outcomes = load.stop()
        assert outcomes.failures == []
        assert set(outcomes.answers) == {2.0, 3.0}
        assert replicas != [process.pid for process in gateway.replica_processes("times", version=2)]


def test_gateway_that_was_killed_comes_back_on_its_port(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    with running(tmp_path, _config(0)) as gateway:
        gateway.wait_until_settled()
        [victim] = gateway.serve_processes("onegate", "Gateway")
        victim.send_signal(signal.SIGKILL)
        victim.wait(10)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                first = get(f"{gateway.url}/v2/models/times/infer", body(1.0))[0]
                break
            except OSError:
                time.sleep(0.1)
        # Its first answer is an answer: what comes before the version is loaded waits.
        assert first == 200


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0), (1, 2)], ids=["to_replicas", "to_inline", "scale_up"])
def test_change_of_executor_or_replicas_under_load_fails_no_request(tmp_path: Path, before: int, after: int) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    with running(tmp_path, _config(before)) as gateway:
        gateway.wait_until_settled()
        first = {process.pid for process in gateway.replica_processes("times")}
        with SteadyLoad(f"{gateway.url}/v2/models/times/infer", body(1.0)) as load:
            time.sleep(1)
            gateway.config |= _config(after)
            gateway.write_config()
            applied = gateway.command("apply", "onegate.yaml")
            assert applied.returncode == 0, applied.stderr
            if after:
                _wait_for_replicas(gateway, after)
            time.sleep(1)
            outcomes = load.stop()
        assert outcomes.failures == []
        assert set(outcomes.answers) == {2.0}
        [row] = gateway.rows("times")
        assert (row["version"], row["executor"]) == (1, "replicas" if after else "inline")
        if before and after:
            assert first < {process.pid for process in gateway.replica_processes("times")}


def test_change_that_cannot_be_carried_out_leaves_what_answers(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    with running(tmp_path, _config(0)) as gateway:
        gateway.wait_until_settled()
        (tmp_path / "times.onnx").write_bytes(b"no model")
        done = gateway.command("apply", "onegate.yaml")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert get(f"{gateway.url}/v2/models/times/infer", body(1.0))[0] == 200
        write_multiplier(tmp_path / "times.onnx", 3.0)
        assert gateway.command("apply", "onegate.yaml").returncode == 0
        assert json.loads(get(f"{gateway.url}/v2/models/times/infer", body(1.0))[1])["outputs"][0]["data"] == [3.0, 3.0]
