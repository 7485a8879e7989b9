"""Is there memory for a version: what is left, what it takes, and how libraries say that there was none."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import psutil
import pytest
from onnx import TensorProto, helper

from model_store.errors import OutOfMemory
from model_store.manifest import FileEntry, Manifest, TensorSpec
from serve.control_groups import ControlGroups
from serve.memory import available_bytes, loaded_bytes, most_bytes, require_memory, telling_of_memory
from serve.runtimes.onnx import OnnxRuntime
from tests.serve.tiny_versions import manifest

MIB = 1 << 20


def groups(folder: Path, limit: str) -> ControlGroups:
    for name, text in {"memory.max": limit, "memory.current": "345"}.items():
        (folder / name).write_text(text)
    return ControlGroups(folder, folder / "absent")


def test_without_a_limit_the_machine_decides(tmp_path: Path) -> None:
    assert available_bytes(groups(tmp_path, "max")) > 0


def test_the_smaller_of_the_two_counts(tmp_path: Path) -> None:
    assert available_bytes(groups(tmp_path, "12345")) == 12000


def test_a_process_can_take_what_its_group_or_the_machine_has(tmp_path: Path) -> None:
    assert most_bytes(groups(tmp_path, "12345")) == 12345
    assert most_bytes(groups(tmp_path, "max")) == psutil.virtual_memory().total


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
    process = psutil.Process()
    before = process.memory_info()
    assert runtime.run({"shape": np.array([MIB])})["y"].size == MIB
    after = process.memory_info()
    # ONNX Runtime keeps what it took for the answer, and has not taken all that it could get.
    assert after.vms - before.vms < 256 * MIB
    assert after.rss - before.rss < 64 * MIB


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shape differs"), runtime_exception("no")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, telling_of_memory("m"):
        raise error
    assert caught.value is error
