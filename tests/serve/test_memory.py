"""Is there memory for a version: what is left, what it takes, and how libraries say that there was none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from model_store.errors import OutOfMemory
from model_store.manifest import FileEntry, Manifest, TensorSpec
from serve.memory import available_bytes, group_bytes, loaded_bytes, require_memory, telling_of_memory
from serve.runtimes.onnx import OnnxRuntime
from tests.serve.tiny_versions import manifest

MIB = 1 << 20


def group(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_control_group_leaves_its_limit_less_what_can_not_be_dropped(tmp_path: Path) -> None:
    files = {"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 500\ninactive_file 150\n"}
    assert group_bytes(group(tmp_path, files)) == 450


def test_a_control_group_of_version_1_counts_too(tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": "1000\n",
        "memory/memory.usage_in_bytes": "900\n",
        "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 50\n",
    }
    assert group_bytes(group(tmp_path, files)) == 150


def test_a_control_group_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    assert group_bytes(group(tmp_path, {"memory.max": "10", "memory.current": "12", "memory.stat": ""})) == 0


def test_without_a_limit_the_machine_decides(tmp_path: Path) -> None:
    assert group_bytes(tmp_path) is None
    files = {"memory.max": "max\n", "memory.current": "700\n", "memory.stat": ""}
    assert group_bytes(group(tmp_path, files)) is None
    assert available_bytes(tmp_path) > 0


def test_the_smaller_of_the_two_counts(tmp_path: Path) -> None:
    files = {"memory.max": "12345", "memory.current": "345", "memory.stat": ""}
    assert available_bytes(group(tmp_path, files)) == 12000


def version(**sizes: int) -> Manifest:
    files = {name.replace("_", "."): FileEntry("0" * 64, size) for name, size in sizes.items()}
    return msgspec.structs.replace(manifest("m", 3), files=files)


def test_a_graph_that_is_there_twice_counts_once() -> None:
    twice = msgspec.structs.replace(
        version(model_onnx=100, fast_onnx=110, labels_txt=5), optimised={"model.onnx": "fast.onnx"}
    )
    assert loaded_bytes(twice) == 105


def test_a_version_that_fits_is_loaded() -> None:
    require_memory(version(model_onnx=100), 100)


def test_a_version_that_does_not_fit_is_refused_with_both_sizes() -> None:
    with pytest.raises(OutOfMemory) as caught:
        require_memory(version(model_onnx=3 * MIB), 2 * MIB)
    assert caught.value.message == (
        "model 'm' version 3 takes at least 3 MiB, 2 MiB of memory are left; unload another model first"
    )


def runtime_exception(text: str) -> Exception:
    kind: type[Exception] = onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException
    return kind(text)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried .."),
        runtime_exception(
            "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"
        ),
        runtime_exception("Available memory of 1048576 is smaller than requested bytes of 4194304"),
    ],
)
def test_a_failed_allocation_is_out_of_memory(error: Exception) -> None:
    with (
        pytest.raises(OutOfMemory, match=r"^model 'm' can't be loaded: an allocation failed"),
        telling_of_memory("model 'm' can't be loaded"),
    ):
        raise error


def test_an_input_that_asks_for_more_than_there_is_is_out_of_memory(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["shape"], ["y"])],
        "huge",
        [helper.make_tensor_value_info("shape", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), tmp_path / "model.onnx"
    )
    described = manifest("m", 1, [TensorSpec("shape", "INT64", (1,))], [TensorSpec("y", "FP32", (-1,))])
    runtime = OnnxRuntime(tmp_path, described, 1)
    with pytest.raises(OutOfMemory, match="on so large an input: an allocation failed"):
        runtime.run({"shape": np.array([2**45])})
    assert runtime.run({"shape": np.array([2])})["y"].tolist() == [0, 0]


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shape differs"), runtime_exception("no")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, telling_of_memory("m"):
        raise error
    assert caught.value is error
