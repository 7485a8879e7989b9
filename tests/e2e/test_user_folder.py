"""A user's folder may hold modules that are named as onegate's, Ray's and the converters' are."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.models import body, write_multiplier
from tests.e2e.running import get, running


def test_up_works_from_a_folder_with_a_serve_py_a_ray_py_and_a_converters_folder(tmp_path: Path) -> None:
    for module in ("serve.py", "ray.py", "converters/__init__.py", "model_store.py"):
        path = tmp_path / module
        path.parent.mkdir(exist_ok=True)
        path.write_text("raise RuntimeError('a module of the user was imported')\n")
    write_multiplier(tmp_path / "times.onnx", 2.0)
    models = [
        {"name": "inline", "source": "times.onnx", "serve": {"executor": "inline"}},
        {"name": "replicas", "source": "times.onnx", "serve": {"executor": "replicas"}},
    ]
    with running(tmp_path, {"store": "store", "models": models}) as gateway:
        gateway.wait_until_settled()
        for model in ("inline", "replicas"):
            status, answer = get(f"{gateway.url}/v2/models/{model}/infer", body(4.0))
            assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, [8.0, 8.0])
        status = gateway.command("status", "--json")
        assert [row["state"] for row in json.loads(status.stdout)["models"]] == ["READY", "READY"]
