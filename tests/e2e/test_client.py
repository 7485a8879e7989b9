"""Programs that call a running gateway through `serve.client`, in whatever state it is."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from serve.client import Client, Retries
from tests.e2e.models import write_rows
from tests.e2e.running import Running, running

CALLERS = 4
"""For each protocol."""


@contextmanager
def _calling(clients: list[Client]) -> Iterator[tuple[list[list[int]], list[Future[None]]]]:
    """Callers that ask again and again, and for each of them how many rows each answer gave back as they went. A caller
    ends with the first call that fails."""
    ending = threading.Event()
    answered: list[list[int]] = [[] for _ in range(CALLERS * len(clients))]

    def call(client: Client, right: list[int]) -> None:
        while not ending.is_set():
            rows = np.random.default_rng().integers(0, 100, (1 + len(right) % 5, 2)).astype(np.float32)
            outputs = client.infer("rows", rows, label="stable", deadline_s=60)
            right.append(int((outputs["y"] == rows).all(axis=1).sum()) if outputs.version == "1" else -1)

    with ThreadPoolExecutor(len(answered)) as threads:
        calls = [threads.submit(call, clients[index % len(clients)], right) for index, right in enumerate(answered)]
        try:
            yield answered, calls
        finally:
            ending.set()


def _until(condition: Callable[[], bool], calls: list[Future[None]]) -> None:
    end = time.monotonic() + 60
    while not condition():
        for each in calls:
            if each.done():
                each.result()
        assert time.monotonic() < end
        time.sleep(0.02)


def _kill_gateway(gateway: Running) -> None:
    [process] = gateway.serve_processes("onegate", "Gateway")
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def test_no_call_is_lost_when_the_gateway_is_killed_under_its_callers(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.onnx")
    versions = [{"source": "rows.onnx", "label": "stable", "traffic": 100}]
    model = {"name": "rows", "versions": versions, "serve": {"executor": "inline"}}
    with running(tmp_path, {"store": "store", "models": [model]}) as gateway:
        gateway.wait_until_settled()
        # A gateway is back within seconds, on a busy machine within more of them.
        patient = Retries(tries=60, most_s=1.0)
        with (
            Client(gateway.url, retries=patient) as over_http,
            Client(f"grpc://{gateway.grpc}", retries=patient) as over_grpc,
        ):
            clients = [over_http, over_grpc]
            assert [client.ready("rows", label="stable") for client in clients] == [True, True]
            with _calling(clients) as (answered, calls):
                _until(lambda: min(map(len, answered)) >= 20, calls)
                _kill_gateway(gateway)
                before = list(map(len, answered))
                _until(lambda: all(len(now) >= count + 20 for now, count in zip(answered, before, strict=True)), calls)
    for right in answered:
        assert right == [1 + index % 5 for index in range(len(right))]
