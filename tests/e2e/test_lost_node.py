"""A Ray cluster of several nodes on this machine, one of which is killed under load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ray.cluster_utils import Cluster

from tests.e2e.load import SteadyLoad
from tests.e2e.models import body, write_multiplier
from tests.e2e.running import running
from tests.e2e.test_stopped_processes import wait_until

RAY = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
OBJECT_STORE_BYTES = 80 * 1024 * 1024


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without cores, for what claims none, and three nodes of one core each."""
    for name, value in RAY.items():
        monkeypatch.setenv(name, value)
    head = {"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(3):
            cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


def raylets_of(title: str) -> list[psutil.Process]:
    """The nodes of the processes with that title; a worker is its raylet's child."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if (process.cmdline() or [""])[0].startswith(title) and (parent := process.parent()) is not None:
                found.append(parent)
        except psutil.Error:
            continue
    return found


def test_kill_9_of_a_node_loses_nothing(tmp_path: Path, cluster: Cluster) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    serve = {"executor": "replicas", "replicas": 2}
    config = {
        "store": "store",
        "gateway": {"replicas": 2},
        "models": [{"name": "times", "source": "times.onnx", "serve": serve}],
    }
    with running(tmp_path, config, environment=RAY, words=("--address", cluster.address)) as gateway:
        gateway.wait_until_settled()
        wait_until(lambda: gateway.rows("times")[0]["replicas"]["ready"] == 2)
        nodes = raylets_of("ray::ServeReplica:times-v1:Model")
        assert len({node.pid for node in nodes}) == 2
        with SteadyLoad(f"{gateway.url}/v2/models/times/infer", body(1.0), resend=True) as load:
            time.sleep(1)
            nodes[0].kill()
            lost_s = wait_until(lambda: gateway.rows("times")[0]["replicas"]["ready"] == 1)
            back_s = wait_until(lambda: gateway.rows("times")[0]["replicas"]["ready"] == 2)
            time.sleep(1)
            outcomes = load.stop()
        print(
            f"\n{outcomes.count} answers, {outcomes.cut} connections cut, longest gap {outcomes.longest_gap_s:.2f} s, "
            f"slowest {outcomes.slowest_s:.2f} s; the replica was missed after {lost_s:.1f} s, back {back_s:.1f} s "
            "later"
        )
        assert outcomes.failures == []
        assert set(outcomes.answers) == {2.0}
        assert nodes[0].pid not in {node.pid for node in raylets_of("ray::ServeReplica:times-v1:Model")}
