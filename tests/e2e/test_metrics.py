"""`GET /metrics` of a running gateway: what it tells is what clients counted, to the request, while processes die."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.e2e.models import body, write_multiplier
from tests.e2e.running import Running, free_ports, get, running
from tests.serve.metrics.counting import Series, series

CONFIGS = Path(__file__).parents[2] / "configs/observability"
PROMETHEUS = shutil.which("prometheus")
REPORTED_S = 15.0
"""How long what was counted may take to be told; a heartbeat is 1 s."""
BACK_S = 60.0

COUNTED = (
    "onegate_requests_total", "onegate_request_errors", "onegate_request_duration", "onegate_queue_duration",
    "onegate_rows", "onegate_batch", "nv_inference_count", "nv_inference_request", "nv_inference_exec",
)  # fmt: skip
"""What gateways count."""

Counted = Counter[tuple[str, ...]]


class Client:
    """Calls, and what it has counted of them: by model, dialect and, of those that failed, kind of error."""

    def __init__(self, gateway: Running, key: str) -> None:
        self.gateway = gateway
        self.key = key
        self.requests: Counted = Counter()
        self.errors: Counted = Counter()
        self.rows: Counter[str] = Counter()

    def page(self) -> Series:
        status, page = self.ask(self.key)
        assert status == 200, page
        return series(page)

    def ask(self, key: str | None) -> tuple[int, bytes]:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return get(f"{self.gateway.management}/metrics", headers=headers)

    def call(
        self, times: int, model: str, dialect: str, path: str, content: bytes, kind: str = "", rows: int = 1
    ) -> None:
        """So many calls over HTTP, 32 at a time, that fail with that kind of error where one is given."""

        async def send() -> list[int]:
            places = asyncio.Semaphore(32)
            async with aiohttp.ClientSession() as session:

                async def one() -> int:
                    async with places, session.post(f"{self.gateway.url}{path}", data=content) as reply:
                        return reply.status

                return await asyncio.gather(*(one() for _ in range(times)))

        statuses = asyncio.run(send())
        assert {status < 400 for status in statuses} == {not kind}, Counter(statuses)
        self.note(times, model, dialect, kind, rows)

    def note(self, times: int, model: str, dialect: str, kind: str = "", rows: int = 1) -> None:
        if model:
            self.requests[model, dialect] += times
        if kind:
            self.errors[model, dialect, kind] += times
        else:
            self.rows[model] += rows * times

    def assert_told(self) -> Series:
        """Waits until as many requests are told as were made, and then compares everything."""
        until(lambda: told(self.page(), "onegate_requests_total").total() >= self.requests.total(), REPORTED_S)
        found = self.page()
        assert told(found, "onegate_requests_total") == self.requests
        assert told(found, "onegate_request_duration_seconds_count") == self.requests
        assert told(found, "onegate_request_errors_total", "kind") == self.errors
        assert told(found, "onegate_rows_total").total() == self.rows.total()
        assert told(found, "onegate_batch_rows_sum").total() == self.rows.total()
        failed = sum(count for (model, *_), count in self.errors.items() if model)
        assert told(found, "nv_inference_request_success").total() == self.requests.total() - failed
        return found


def told(found: Series, name: str, *further: str) -> Counted:
    """The values of a metric by model, dialect and `further` labels, those that are zero left out."""
    counted: Counted = Counter()
    for (series_name, labels), number in found.items():
        of = dict(labels)
        # Prometheus leaves out what is empty.
        key = tuple(of.get(label, "") for label in ("model", "dialect", *further) if label in of or label == "model")
        if series_name in (name, f"{name}_total") and number:
            counted[key] += int(number)
    return counted


def until(condition: Callable[[], bool], limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it has not come about"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("metrics")
    write_multiplier(folder / "m.onnx", 2.0)
    config: dict[str, Any] = {
        "store": "store",
        "gateway": {"replicas": 2},
        "access": {"anonymous": ["infer", "view"]},
        "models": [
            {"name": "here", "source": "m.onnx", "serve": {"executor": "inline"}},
            {"name": "far", "source": "m.onnx", "serve": {"executor": "replicas"}},
        ],
    }
    with running(folder, config) as gateway:
        gateway.wait_until_greeted()
        made = gateway.command("keys", "create", "prometheus", "--scope", "metrics", "--store", "store")
        assert made.returncode == 0, made.stderr
        client = Client(gateway, made.stdout.strip())
        until(lambda: client.ask(client.key)[0] == 200, REPORTED_S)
        yield client


def call_over_grpc(client: Client, times: int) -> None:
    given = tritonclient.grpc.InferInput("x", [2, 2], "FP32")
    given.set_data_from_numpy(np.ones((2, 2), np.float32))
    with tritonclient.grpc.InferenceServerClient(client.gateway.grpc) as calls:
        for _ in range(times):
            calls.infer("here", [given])
        with pytest.raises(InferenceServerException, match="not served here"):
            calls.infer("made-up", [given])
    client.note(times, "here", "open_inference_grpc", rows=2)
    client.note(1, "", "open_inference_grpc", "ModelNotFound")


def test_only_who_may_see_metrics_does(client: Client) -> None:
    assert [client.ask(key)[0] for key in (None, "nonsense", client.key)] == [401, 401, 200]


def test_every_request_is_told_as_clients_count_them(client: Client) -> None:
    infer = "/v2/models/{}/infer"
    client.call(500, "here", "open_inference", infer.format("here"), body(1.0))
    client.call(
        200, "here", "tensorflow_serving", "/v1/models/here:predict", b'{"instances": [[1, 2], [3, 4]]}', rows=2
    )
    client.call(100, "here", "plain", "/predict/here", b"[[1, 2]]")
    client.call(100, "far", "open_inference", infer.format("far"), body(1.0))
    client.call(7, "", "open_inference", infer.format("made-up"), body(1.0), "ModelNotFound")
    client.call(3, "", "open_inference", infer.format("here"), b"{", "InvalidInput")
    wrong = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}).encode()
    client.call(5, "here", "open_inference", infer.format("here"), wrong, "InvalidInput")
    call_over_grpc(client, 50)
    found = client.assert_told()
    assert found["onegate_gateways", frozenset()] == 2
    states = {dict(labels)["state"] for name, labels in found if name == "onegate_version_info"}
    assert states == {"READY"}


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed (Debian: prometheus)")
def test_a_prometheus_server_scrapes_the_same(client: Client, tmp_path: Path) -> None:
    for name in ("alerts.yaml", "prometheus.yaml"):
        text = (CONFIGS / name).read_text().replace("127.0.0.1:8082", client.gateway.management.partition("//")[2])
        (tmp_path / name).write_text(text.replace("scrape_interval: 5s", "scrape_interval: 1s"))
    (tmp_path / "onegate-metrics.key").write_text(client.key)
    client.call(50, "here", "open_inference", "/v2/models/here/infer", body(1.0))
    client.assert_told()
    (port,) = free_ports(1)
    words = [f"--web.listen-address=127.0.0.1:{port}", "--config.file=prometheus.yaml", "--storage.tsdb.path=data"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([PROMETHEUS or "", *words], cwd=tmp_path, stdout=log, stderr=log)
    try:
        until(lambda: asked(port, "sum(onegate_requests_total)").total() == client.requests.total(), REPORTED_S)
        assert asked(port, "onegate_requests_total") == client.requests
        assert asked(port, "onegate_request_errors_total", "kind") == client.errors
        assert asked(port, "nv_inference_count").total() == client.rows.total()
        assert asked(port, 'onegate_request_duration_seconds_bucket{le="+Inf"}') == client.requests
        assert asked(port, "up").total() == 1
    finally:
        server.terminate()
        server.wait(30)


def asked(port: int, query: str, *further: str) -> Counted:
    """What Prometheus says, by model and dialect."""
    try:
        status, answer = get(f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query}))
    except OSError:
        return Counter()
    if status != 200:
        return Counter()
    found = json.loads(answer)["data"]["result"]
    values = {("", frozenset(each["metric"].items())): float(each["value"][1]) for each in found}
    return told(values, "", *further)


def test_no_counter_goes_back_while_gateways_and_the_controller_are_killed(client: Client) -> None:
    seen = [client.assert_told()]

    def watch() -> bool:
        """Whether all is there again; what is told meanwhile is no less than before."""
        try:
            status, page = client.ask(client.key)
        except OSError:
            return False
        if status == 200:
            seen.append(series(page))
        return status == 200 and seen[-1]["onegate_gateways", frozenset()] == 2

    def has_gone(pid: int) -> bool:
        """Whether the controller has taken note, and there is another."""
        gateways = [dict(labels)["gateway"] for name, labels in seen[-1] if name == "onegate_gateway_memory_bytes"]
        return not any(gateway.endswith(f"-{pid}") for gateway in gateways)

    # Nothing was counted since the last heartbeat, which would be lost with the process.
    time.sleep(2.5)
    victim = client.gateway.serve_processes("onegate", "Gateway")[0]
    victim.kill()
    until(lambda: watch() and has_gone(victim.pid), BACK_S)
    client.call(100, "here", "open_inference", "/v2/models/here/infer", body(1.0))
    seen.append(client.assert_told())

    client.gateway.serve_processes("onegate-controller", "Controller")[0].kill()
    client.call(100, "far", "open_inference", "/v2/models/far/infer", body(1.0))
    until(watch, BACK_S)
    seen.append(client.assert_told())
    for before, after in pairwise(seen):
        counters = [name for name in before if name[0].startswith(COUNTED)]
        assert len(counters) > 100
        assert {name: after.get(name) for name in counters if after.get(name, 0.0) < before[name]} == {}
