"""Exports of every framework, made once for the session in processes of their own; ONNX built by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.base import ConversionOptions
from converters.publish import Published, convert_and_publish
from model_store.store import Store
from tests.sources.hostile import calling_skops

QUICKSTART = Path(__file__).parent.parent.parent / "examples" / "quickstart"


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a framework's tiny models."""
    made: dict[str, Path] = {}

    def build(framework: str) -> Path:
        if framework not in made:
            folder = tmp_path_factory.mktemp(framework)
            script = str(Path(__file__).parent / "tiny_models.py")
            environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
            done = subprocess.run(
                [sys.executable, "-W", "ignore", script, framework, str(folder)],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-2000:]
            made[framework] = folder
        return made[framework]

    return build


@pytest.fixture
def publish(store: Store) -> Callable[..., Published]:
    def convert(source: Path, **options: object) -> Published:
        return convert_and_publish(store, "model", source, ConversionOptions(**options))  # type: ignore[arg-type]

    return convert


@pytest.fixture
def answers(store: Store, tmp_path: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Runs a published version in ONNX Runtime."""

    def run(published: Published, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        manifest = published.manifest
        folder = store.checkout(manifest, tmp_path / "checkout")
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
        names = [spec.name for spec in manifest.signatures["serving_default"].outputs]
        return dict(zip(names, session.run(names, inputs), strict=True))

    return run


def recorded(path: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Inputs and the framework's own outputs."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return (
        {name[3:]: array for name, array in arrays.items() if name.startswith("in.")},
        {name[4:]: array for name, array in arrays.items() if name.startswith("out.")},
    )


@pytest.fixture
def record() -> Callable[[Path], tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    return recorded


def make_onnx(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[int | str]],
    outputs: dict[str, tuple[int, list[int | str]]],
    weights: dict[str, np.ndarray] | None = None,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    imports = [helper.make_opsetid("", 18)]
    imports += [helper.make_opsetid(domain, 1) for domain in {node.domain for node in nodes} - {""}]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), path)
    return path


@pytest.fixture
def linear_onnx(tmp_path: Path) -> Path:
    """y = x W, with W = [[1, 2], [3, 4], [5, 6]]."""
    weight = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
    return make_onnx(
        tmp_path / "linear.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": ["n", 3]},
        {"y": (TensorProto.FLOAT, ["n", 2])},
        {"w": weight},
    )


@pytest.fixture
def onnx_model() -> Callable[..., Path]:
    return make_onnx


@pytest.fixture
def call_on_load() -> Callable[..., Path]:
    return calling_skops


@pytest.fixture
def quickstart() -> Path:
    return QUICKSTART
