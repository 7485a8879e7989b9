"""GPUs that Ray only believes in: who is given which, and that a machine without any never passes for one that has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.models import body, write_multiplier
from tests.e2e.raylets import raylets
from tests.e2e.running import Running, get, running

NO_DRIVER = "there is no NVIDIA driver here (libcuda.so.1"


def model(name: str, **serve: Any) -> dict[str, Any]:
    return {"name": name, "source": "times.onnx", "serve": serve}


def config(*models: dict[str, Any]) -> dict[str, Any]:
    return {"store": "store", "models": list(models)}


def answer(gateway: Running, model: str) -> Any:
    status, reply = get(f"{gateway.url}/v2/models/{model}/infer", body(1.0))
    return json.loads(reply)["outputs"][0]["data"] if status == 200 else status


def test_gpus_are_shared_out_and_without_a_driver_nothing_passes_for_one(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    models = (
        model("quarters", gpus=0.25, cpus=0.5, replicas=4),
        model("wholes", gpus=1, cpus=0.5, replicas=2),
        model("strict", gpus=0.5, device="cuda", cpus=0.5),
        model("plain", executor="replicas", cpus=0.5),
    )
    with (
        raylets({"num_cpus": 6, "num_gpus": 4}) as cluster,
        running(tmp_path, config(*models), words=("--address", cluster.address), environment=cluster.environment) as up,
    ):
        up.wait_until_settled()
        rows = {row["name"]: row for row in up.state()["models"]}
        told = {name: (row["state"], row["device"]) for name, row in rows.items()}
        assert told == {
            "quarters": ("READY", "cpu"),
            "wholes": ("READY", "cpu"),
            "strict": ("FAILED", None),
            "plain": ("READY", "cpu"),
        }
        assert rows["quarters"]["device_reason"].startswith(NO_DRIVER)
        assert rows["plain"]["device_reason"] == "serve.gpus is 0"
        assert rows["strict"]["reason"].startswith(f"expected a CUDA device, as serve.device says 'cuda': {NO_DRIVER}")
        quarters, wholes = rows["quarters"]["gpus"], rows["wholes"]["gpus"]
        assert (len(quarters), len(set(quarters))) == (4, 1)
        assert len(set(wholes)) == 2
        assert set(quarters).isdisjoint(wholes)
        assert rows["plain"]["gpus"] == []
        assert [answer(up, name) for name in ("quarters", "wholes", "plain")] == [[2.0, 2.0]] * 3
        assert answer(up, "strict") == 503


def test_a_ray_without_gpus_runs_auto_on_its_cpus_and_refuses_cuda_at_once(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "times.onnx", 2.0)
    models = (model("half", gpus=0.5), model("strict", gpus=0.5, device="cuda"), model("huge", cpus=200))
    with running(tmp_path, config(*models, model("inline"))) as up:
        up.wait_until_settled()
        rows = {row["name"]: row for row in up.state()["models"]}
        short = "no node of Ray has 0.5 GPU: the most is 0 GPU"
        assert (rows["half"]["state"], rows["half"]["device"]) == ("READY", "cpu")
        assert rows["half"]["device_reason"] == short
        assert rows["strict"]["state"] == "FAILED"
        assert rows["strict"]["reason"].startswith(short)
        assert rows["huge"]["executor"] == "inline"
        assert (rows["inline"]["device"], rows["inline"]["device_reason"]) == ("cpu", "serve.gpus is 0")
        assert answer(up, "half") == [2.0, 2.0]
