"""Replicas that come and go with the load, to none and back, and more models than the gateway has memory for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.models import body, write_large, write_multiplier, write_slow
from tests.e2e.running import Running, get, running

MIB = 2**20


def scaled(source: str, **replicas: float) -> dict[str, Any]:
    """The config of one model, called `m`, whose number of replicas moves."""
    serve = {"executor": "replicas", "replicas": replicas, "batching": {"max_batch_size": 1}}
    return {"store": "store", "models": [{"name": "m", "source": source, "serve": serve}]}


def row(gateway: Running) -> dict[str, Any]:
    [found] = gateway.rows("m")
    return found


def seconds_until(condition: Callable[[], bool], limit_s: float) -> float:
    """How long it took until `condition` held."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < limit_s, f"not within {limit_s} s"
        time.sleep(0.1)
    return time.monotonic() - begin


class Callers:
    """Clients that call again when they are answered; `answers` counts statuses with values."""

    def __init__(self, url: str) -> None:
        self.answers: dict[tuple[int, float], int] = {}
        self._url = url
        self._ending = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def calling(self, count: int, pause_s: float = 0.0) -> Iterator[None]:
        """So many clients for the block, each of which pauses after each answer."""
        with ThreadPoolExecutor(count) as pool:
            calls = [pool.submit(self._call, pause_s) for _ in range(count)]
            try:
                yield
            finally:
                self._ending.set()
            for call in calls:
                call.result()
        self._ending.clear()

    def _call(self, pause_s: float) -> None:
        while not self._ending.wait(pause_s):
            status, answer = get(self._url, body(3.0))
            value = json.loads(answer)["outputs"][0]["data"][0] if status == 200 else -1.0
            with self._lock:
                self.answers[status, value] = self.answers.get((status, value), 0) + 1


def test_replicas_come_with_load_and_go_with_it_without_a_failed_request(tmp_path: Path) -> None:
    write_slow(tmp_path / "slow.onnx", steps=20)
    config = scaled("slow.onnx", min=1, max=4, target_queue=2, up_delay_s=1.0, down_delay_s=2.0)
    with running(tmp_path, config) as gateway:
        gateway.wait_until_settled()
        assert row(gateway)["replicas"] == {"ready": 1, "wanted": 1, "min": 1, "max": 4}
        callers = Callers(f"{gateway.url}/v2/models/m/infer")
        with callers.calling(12):
            up_s = seconds_until(lambda: row(gateway)["replicas"]["ready"] == 4, 60)
            assert row(gateway)["replicas"]["wanted"] == 4
        # Clients with little to ask are no load for four, and must not notice that three of them go.
        with callers.calling(2, pause_s=1.0):
            down_s = seconds_until(lambda: row(gateway)["replicas"]["ready"] == 1, 60)
            seconds_until(lambda: len(gateway.replica_processes("m")) == 1, 30)
        print(f"1 -> 4 replicas under load in {up_s:.1f} s, 4 -> 1 in {down_s:.1f} s")
        assert set(callers.answers) == {(200, 3.0)}
        assert row(gateway)["state"] == "READY"


def test_a_model_that_nobody_calls_keeps_no_replica_and_its_next_request_is_answered(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    config = scaled("times.onnx", min=0, max=2, down_delay_s=1.0)
    with running(tmp_path, config) as gateway:
        gateway.wait_until_settled()
        seconds_until(lambda: (row(gateway)["state"], len(gateway.replica_processes("m"))) == ("IDLE", 0), 60)
        assert row(gateway)["replicas"] == {"ready": 0, "wanted": 0, "min": 0, "max": 2}
        assert get(f"{gateway.url}/v2/models/m/ready")[0] == 200
        begin = time.monotonic()
        status, answer = get(f"{gateway.url}/v2/models/m/infer", body(4.0))
        print(f"0 -> 1 replica: the first answer after {time.monotonic() - begin:.1f} s")
        assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, [8.0, 8.0])

        # Requests that come about when the only replica is to go: before, while and after it does.
        for pause_s in (0.9, 1.1, 1.3, 1.5, 1.7, 2.1):
            time.sleep(pause_s)
            status, answer = get(f"{gateway.url}/v2/models/m/infer", body(pause_s))
            assert (status, json.loads(answer)["model_name"]) == (200, "m")

        seconds_until(lambda: row(gateway)["state"] == "IDLE", 60)
        [controller] = gateway.serve_processes("onegate-controller", "Controller")
        controller.kill()
        controller.wait(10)
        # While the next controller finds out what there is, the request waits; nothing was lost with the last one.
        status, answer = get(f"{gateway.url}/v2/models/m/infer", body(5.0))
        assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, [10.0, 10.0])


def test_more_models_than_there_is_memory_for_all_answer(tmp_path: Path) -> None:
    count, size_mib, room_mib = 20, 16, 5 * 17
    for number in range(count):
        write_large(tmp_path / f"{number}.onnx", float(number), size_mib * MIB)
    models = [
        {"name": f"m{number}", "source": f"{number}.onnx", "serve": {"executor": "inline"}} for number in range(count)
    ]
    with running(tmp_path, {"store": "store", "gateway": {"model_memory_mib": room_mib}, "models": models}) as gateway:
        gateway.wait_until_settled()
        [process] = gateway.serve_processes("onegate", "Gateway")
        bare_mib = process.memory_info().rss / MIB - room_mib
        states = {found["state"] for found in gateway.state()["models"]}
        assert states <= {"READY", "IDLE"}
        held_mib, slowest_s = 0.0, 0.0
        for turn in range(2):
            for number in range(count):
                begin = time.monotonic()
                status, answer = get(f"{gateway.url}/v2/models/m{number}/infer", body(2.0 + turn))
                slowest_s = max(slowest_s, time.monotonic() - begin)
                expected = number * (2.0 + turn)
                assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, [expected, expected])
                held_mib = max(held_mib, process.memory_info().rss / MIB)
        found = [each["state"] for each in gateway.state()["models"]]
        print(f"{count} models of {size_mib} MiB each: {bare_mib:.0f} MiB and at most {held_mib - bare_mib:.0f} more")
        print(f"slowest answer {slowest_s:.2f} s")
        # Without the budget they would be 320 MiB. Half a budget more is for what loading takes and gives back.
        assert held_mib < bare_mib + 1.5 * room_mib
        assert found.count("IDLE") >= count - 5
