"""Rollouts as a user drives them, under load: no call fails, none is answered wrongly, and who is killed comes back."""

from __future__ import annotations

import contextlib
import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.e2e.load import SteadyLoad
from tests.e2e.models import body, write_multiplier
from tests.e2e.running import Running, get, running
from tests.sources.archives_writing import mms, write_zip

SLEEPY = '''"""Sleeps as long as a request asks, and says which service this is."""
import time

def handle(data, context):
    if data is None:
        return None
    for row in data:
        time.sleep(row["body"]["sleep_s"])
    return ["%s"] * len(data)
'''


def _model(name: str = "times", executor: str = "inline", **keys: Any) -> dict[str, Any]:
    return {"name": name, "source": f"{name}.onnx", "serve": {"executor": executor}, **keys}


def _answer(gateway: Running) -> float:
    """What a call gets for one: the factor of the version that answers."""
    status, answer = get(f"{gateway.url}/v2/models/times/infer", body(1.0))
    assert status == 200, answer
    return float(json.loads(answer)["outputs"][0]["data"][0])


def _labelled(gateway: Running, label: str) -> float:
    """The same of a call by label, in the protocol that has some."""
    url = f"{gateway.url}/v1/models/times/labels/{label}:predict"
    status, answer = get(url, json.dumps({"instances": [[1.0, 1.0]]}).encode())
    assert status == 200, answer
    return float(json.loads(answer)["predictions"][0][0])


def _done(gateway: Running, *words: str) -> str:
    done = gateway.command(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _eventually(gateway: Running, wanted: dict[str, Any], model: str = "times") -> dict[str, Any]:
    """The state from when the model has one row like this, READY, and gateways know; management may be away until
    then."""
    end = time.monotonic() + 60
    state: dict[str, Any] = {}
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            state = gateway.state()
            rows = [row for row in state["models"] if row["name"] == model]
            ready = [row["state"] for row in rows] == ["READY"] and state["followed"]
            if ready and {key: rows[0][key] for key in wanted} == wanted:
                return state
        time.sleep(0.1)
    raise AssertionError(state)


def test_each_step_of_a_rollout_under_load_fails_no_call_and_is_in_force_when_it_returns(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    write_multiplier(tmp_path / "other.onnx", 7.0)
    config = {"store": "store", "models": [_model(keep_previous_s=600), _model("other", "replicas")]}
    with running(tmp_path, config) as gateway:
        gateway.wait_until_settled()
        with (
            SteadyLoad(f"{gateway.url}/v2/models/times/infer", body(1.0), rate=100) as load,
            SteadyLoad(f"{gateway.url}/v2/models/other/infer", body(1.0), rate=50) as others,
        ):
            write_multiplier(tmp_path / "times.onnx", 3.0)
            _done(gateway, "apply", "onegate.yaml")
            assert _answer(gateway) == 3.0

            _done(gateway, "rollback", "times")
            assert {_answer(gateway) for _ in range(20)} == {2.0}
            _done(gateway, "rollback", "times")
            assert {_answer(gateway) for _ in range(20)} == {3.0}

            _done(gateway, "traffic", "times", "1=50", "2=50")
            assert {_answer(gateway) for _ in range(100)} == {2.0, 3.0}
            _done(gateway, "label", "times", "stable=1", "canary=2")
            assert [_labelled(gateway, label) for label in ("stable", "canary")] == [2.0, 3.0]

            gateway.config["models"] = [_model(keep_previous_s=600)]
            gateway.write_config()
            plan = gateway.command("apply", "onegate.yaml", "--plan", "--exit-code")
            assert (plan.returncode, plan.stdout.splitlines()[-1]) == (3, "Plan: 1 to change, 1 to retire")
            assert "    ~ traffic: 1 50%, 2 50% -> 2 100%" in plan.stdout.splitlines()
            seven = others.stop()
            _done(gateway, "apply", "onegate.yaml")
            assert get(f"{gateway.url}/v2/models/other/infer", body(1.0))[0] == 404
            assert {_answer(gateway) for _ in range(20)} == {3.0}
            outcomes = load.stop()
        assert (outcomes.failures, set(outcomes.answers)) == ([], {2.0, 3.0})
        assert (seven.failures, set(seven.answers)) == ([], {7.0})
        found = json.loads(_done(gateway, "history", "times", "--json"))
        assert [entry["why"] for entry in found["generations"]] == [
            *("apply", "labels of times", "traffic of times"),
            *("rollback of times to 2", "rollback of times to 1", "up"),
        ]
        assert {entry["by"][:5] for entry in found["generations"]} == {"user:"}


def test_a_published_version_joins_and_the_newest_answers_under_load(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_multiplier(tmp_path / f"{number}.onnx", float(number))
    config = {"store": "store", "models": [_model() | {"versions": {"latest": 2}}]}
    del config["models"][0]["source"]  # type: ignore[attr-defined]
    with running(tmp_path, config) as gateway:
        gateway.wait_until_settled()
        _done(gateway, "convert", "1.onnx", "--name", "times", "--store", "store")
        _eventually(gateway, {"version": 1, "traffic": 100})
        with SteadyLoad(f"{gateway.url}/v2/models/times/infer", body(1.0), rate=100) as load:
            for number in (2, 3):
                _done(gateway, "convert", f"{number}.onnx", "--name", "times", "--store", "store")
                end = time.monotonic() + 30
                while _answer(gateway) != number and time.monotonic() < end:
                    time.sleep(0.1)
            outcomes = load.stop()
        assert (outcomes.failures, set(outcomes.answers)) == ([], {1.0, 2.0, 3.0})
        rows = [(row["version"], row["traffic"]) for row in gateway.rows("times") if row["state"] == "READY"]
        assert rows == [(2, 0), (3, 100)]


def _sleepy(folder: Path, name: str) -> None:
    write_zip(folder / "sleepy.mar", {**mms("service:handle"), "service.py": SLEEPY % name})


def _sleep(gateway: Running, sleep_s: float) -> tuple[int, bytes]:
    headers = {"content-type": "application/json"}
    return get(f"{gateway.url}/predictions/sleepy", json.dumps({"sleep_s": sleep_s}).encode(), headers)


def test_a_call_of_6_s_in_flight_survives_the_switch_to_another_version(tmp_path: Path) -> None:
    _sleepy(tmp_path, "old")
    config = {"store": "store", "models": [{"name": "sleepy", "source": "sleepy.mar", "trust": True}]}
    options = {"environment": {"ONEGATE_CACHE": str(tmp_path / "cache")}}
    with running(tmp_path, config, **options) as gateway, ThreadPoolExecutor(1) as caller:
        gateway.wait_until_settled()
        assert _sleep(gateway, 0) == (200, b"old")
        _sleepy(tmp_path, "new")
        slow: Future[tuple[int, bytes]] | None = None
        applying = ThreadPoolExecutor(1).submit(gateway.command, "apply", "onegate.yaml")
        while not applying.done():
            # Whenever the switch comes, a call is in flight that began less than 6 s before.
            if slow is None or slow.done():
                assert slow is None or slow.result() in [(200, b"old"), (200, b"new")]
                slow = caller.submit(_sleep, gateway, 6)
            time.sleep(0.05)
        assert applying.result().returncode == 0, applying.result().stderr
        assert slow is not None
        assert slow.result(30) in [(200, b"old"), (200, b"new")]
        assert _sleep(gateway, 0) == (200, b"new")


def test_a_controller_that_is_killed_right_after_an_apply_comes_back_to_what_was_applied(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    with running(tmp_path, {"store": "store", "models": [_model()]}) as gateway:
        gateway.wait_until_settled()
        write_multiplier(tmp_path / "times.onnx", 3.0)
        with SteadyLoad(f"{gateway.url}/v2/models/times/infer", body(1.0), rate=100) as load:
            _done(gateway, "apply", "onegate.yaml", "--no-wait")
            gateway.kill_controller()
            state = _eventually(gateway, {"version": 2, "traffic": 100})
            outcomes = load.stop()
        assert state["generation"] == 2
        assert (outcomes.failures, set(outcomes.answers) <= {2.0, 3.0}) == ([], True)
        assert _answer(gateway) == 3.0


def test_a_controller_that_is_killed_in_a_conversion_converts_again(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    with running(tmp_path, {"store": "store", "models": [_model()]}) as gateway:
        gateway.wait_until_settled()
        write_multiplier(tmp_path / "times.onnx", 3.0)
        with SteadyLoad(f"{gateway.url}/v2/models/times/infer", body(1.0), rate=100) as load:
            gateway.config["models"][0]["keep_previous_s"] = 1
            gateway.write_config()
            _done(gateway, "apply", "onegate.yaml", "--no-wait")
            end = time.monotonic() + 30
            while not (children := _converting(gateway)) and time.monotonic() < end:
                time.sleep(0.02)
            gateway.kill_controller()
            state = _eventually(gateway, {"version": 2, "traffic": 100})
            outcomes = load.stop()
        assert state["generation"] == 2
        assert (outcomes.failures, set(outcomes.answers)) == ([], {2.0, 3.0})
        assert children
        # The conversion ended with its controller.
        assert [child for child in children if child.is_running() and child.status() != "zombie"] == []


def test_a_controller_that_is_killed_reads_no_source_that_was_overwritten_and_not_applied(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    with running(tmp_path, {"store": "store", "models": [_model()]}) as gateway:
        gateway.wait_until_settled()
        write_multiplier(tmp_path / "times.onnx", 3.0)
        gateway.kill_controller()
        state = _eventually(gateway, {"version": 1, "traffic": 100})
        assert (state["generation"], _answer(gateway)) == (1, 2.0)
        _done(gateway, "apply", "onegate.yaml")
        assert _answer(gateway) == 3.0


def _converting(gateway: Running) -> list[Any]:
    """The processes of conversions under way."""
    [controller] = gateway.serve_processes("onegate-controller", "Controller")
    return list(controller.children())
