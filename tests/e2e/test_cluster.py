"""Several nodes: replicas are spread over them, and one that dies takes no request with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.load import SteadyLoad
from tests.e2e.models import body, write_multiplier
from tests.e2e.raylets import raylets
from tests.e2e.running import get, running

NODE = {"num_cpus": 2}


def config(replicas: int, **gateway: Any) -> dict[str, Any]:
    serve = {"executor": "replicas", "replicas": replicas}
    return {"store": "store", "gateway": gateway, "models": [{"name": "times", "source": "times.onnx", "serve": serve}]}


def reach(what: Callable[[], Any], wanted: Any, within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    found = what()
    while found != wanted and time.monotonic() < end:
        time.sleep(0.2)
        found = what()
    assert found == wanted


def test_a_node_that_dies_loses_no_request_and_its_replica_comes_back_elsewhere(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    with (
        raylets(NODE, NODE, NODE) as cluster,
        running(tmp_path, config(3), words=("--address", cluster.address), environment=cluster.environment) as up,
    ):
        up.wait_until_settled()
        reach(lambda: [row["replicas"]["ready"] for row in up.rows("times")], [3])
        assert {place: len(found) for place, found in cluster.replicas("times-v1").items()} == {0: 1, 1: 1, 2: 1}
        assert [list(cluster.replicas(name)) for name in ("onegate", "onegate-controller")] == [[0], [0]]
        with SteadyLoad(f"{up.url}/v2/models/times/infer", body(1.0), rate=100) as load:
            reach(lambda: load.outcomes.count > 100, True)
            cluster.kill(1)
            before = load.outcomes.count
            reach(lambda: sum(map(len, cluster.replicas("times-v1").values())), 3)
            reach(lambda: [row["replicas"]["ready"] for row in up.rows("times")], [3])
            reach(lambda: load.outcomes.count > before + 200, True)
            outcomes = load.stop()
        assert outcomes.failures == []
        assert set(outcomes.answers) == {2.0}


def test_every_node_has_a_gateway_from_when_it_joins_until_it_dies(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    with (
        raylets(NODE, NODE) as cluster,
        running(
            tmp_path,
            config(2, every_node=True),
            words=("--address", cluster.address),
            environment=cluster.environment,
        ) as up,
    ):

        def gateways() -> dict[int, int]:
            return {place: len(found) for place, found in cluster.replicas("onegate").items()}

        up.wait_until_settled()
        assert gateways() == {0: 1, 1: 1}
        cluster.add(NODE)
        reach(gateways, {0: 1, 1: 1, 2: 1})
        cluster.kill(1)
        reach(gateways, {0: 1, 2: 1})
        reach(lambda: sum(map(len, cluster.replicas("times-v1").values())), 2)
        reach(lambda: [row["replicas"]["ready"] for row in up.rows("times")], [2])
        assert get(f"{up.url}/v2/models/times/infer", body(1.0))[0] == 200
