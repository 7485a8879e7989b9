"""TensorFlow Serving's client package, unmodified, and its REST API against models that came as ONNX.

The client's stubs (`tensorflow-serving-api`) run in a process of their own: their messages and ours have the same
names.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tests.e2e.running import Running, get, running

CALLS = Path(__file__).with_name("tensorflow_serving_calls.py")
CLIENT = "tensorflow-serving-api==2.21.0"


def write_price(path: Path, weight: float) -> None:
    """An ONNX model: y = x0 + weight * x1, FP32[n, 2] -> FP32[n, 1]."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1.0, weight])
    x, y = (helper.make_tensor_value_info(*each) for each in (("x", 1, ["n", 2]), ("y", 1, ["n", 1])))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "price", [x], [y], [weights])
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model `price` of the config, and a base path with versions of another."""
    folder = tmp_path_factory.mktemp("serving")
    write_price(folder / "price.onnx", 10)
    for number, weight in ((1, 100), (3, 300), (20, 2000)):
        write_price(folder / "ranker" / str(number) / "model.onnx", weight)
    return folder


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Running]:
    config = {
        "store": "store",
        "gateway": {"management_on_endpoint": True},
        "allowed_sources": [f"file://{folder.resolve()}/ranker/*"],
        "models": [{"name": "price", "source": "price.onnx", "serve": {"executor": "inline"}}],
    }
    with running(folder, config) as started:
        started.wait_until_settled()
        yield started


def post(gateway: Running, path: str, body: Any) -> tuple[int, Any]:
    status, answer = get(f"{gateway.url}/v1/models/{path}", json.dumps(body).encode())
    return status, json.loads(answer)


def test_rest_calls_are_answered(gateway: Running) -> None:
    rows = [[1, 2], [3, 4]]
    examples = {"examples": [{"x": row} for row in rows]}
    assert post(gateway, "price:predict", {"instances": rows}) == (200, {"predictions": [[21.0], [43.0]]})
    assert post(gateway, "price:predict", {"inputs": {"x": rows}}) == (200, {"outputs": [[21.0], [43.0]]})
    assert post(gateway, "price:regress", examples) == (200, {"results": [21.0, 43.0]})
    assert post(gateway, "price:classify", examples) == (200, {"results": [[["", 21.0]], [["", 43.0]]]})
    status, answer = get(f"{gateway.url}/v1/models/price/metadata")
    assert (status, json.loads(answer)["model_spec"]) == (200, {"name": "price", "signature_name": "", "version": "1"})
    status, answer = get(f"{gateway.url}/v1/models/price")
    [version] = json.loads(answer)["model_version_status"]
    assert (status, version["version"], version["state"]) == (200, "1", "AVAILABLE")


def test_the_client_package_is_answered(gateway: Running, folder: Path, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*install, "--target", tmp_path, CLIENT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, CALLS, gateway.grpc, folder.resolve() / "ranker"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["predict"] == {"version": 1, "array": [[21.0], [43.0]], "float_val": [21.0, 43.0]}
    assert told["filled"] == [11.0]
    assert told["unknown"] == ["NOT_FOUND", "Servable not found for request: Latest(nobody)"]
    assert told["wrong"] == ["INVALID_ARGUMENT", "input 'x': expected FP32[*,2], got FP32[1,3]"]
    assert told["classify"] == [[["", 21.0]], [["", 43.0]]]
    assert told["regress"] == [21.0, 43.0]
    assert told["several"] == [[21.0, 43.0], [21.0, 43.0]]
    assert told["metadata"] == {"x": ["float32", [None, 2]], "y": ["float32", [None, 1]]}
    assert told["status"] == [[1, "AVAILABLE"]]
    assert (told["reload"], told["reloaded"]) == (0, [[20, "AVAILABLE"], [1, "AVAILABLE"]])
    assert (told["newest"]["version"], told["newest"]["float_val"]) == (20, [4001.0, 8003.0])
    assert (told["by version"]["version"], told["by version"]["float_val"]) == (1, [201.0, 403.0])
    assert told["by label"] == told["by version"]
    assert told["gone"] == ["NOT_FOUND", "Servable not found for request: Latest(price)"]
