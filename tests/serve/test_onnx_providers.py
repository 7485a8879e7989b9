"""Execution providers: their options, and that a session without the one that was asked for is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import helper

from model_store.errors import ModelNotReady
from serve.devices import Device, Provider
from serve.runtimes.onnx import OnnxRuntime
from serve.runtimes.onnx_providers import session_providers, try_device
from tests.serve.test_onnx_runtime import X, Y, write_model

CUDA = Device("cuda", providers=(Provider("cuda"),))


def test_a_cpu_has_its_provider_alone() -> None:
    assert session_providers(Device()) == [("CPUExecutionProvider", {})]
    own = Device(providers=(Provider("cpu", {"use_arena": False}),))
    assert session_providers(own) == [("CPUExecutionProvider", {"use_arena": "0"})]


def test_a_gpu_computes_float32_as_float32_and_leaves_the_rest_to_the_cpu() -> None:
    assert session_providers(CUDA) == [("CUDAExecutionProvider", {"use_tf32": "0"}), ("CPUExecutionProvider", {})]


def test_a_memory_limit_is_shared_by_the_sessions() -> None:
    device = Device("cuda", providers=(Provider("cuda"),), memory_bytes=1000)
    assert session_providers(device, sessions=2)[0][1] == {
        "use_tf32": "0",
        "gpu_mem_limit": "500",
        "arena_extend_strategy": "kSameAsRequested",
    }


def test_options_of_the_config_win_and_are_told_as_text() -> None:
    asked = (Provider("tensorrt", {"trt_fp16_enable": True}), Provider("cuda", {"use_tf32": 1, "gpu_mem_limit": 7}))
    assert session_providers(Device("cuda", providers=asked, memory_bytes=1000)) == [
        ("TensorrtExecutionProvider", {"trt_fp16_enable": "1"}),
        ("CUDAExecutionProvider", {"use_tf32": "1", "gpu_mem_limit": "7", "arena_extend_strategy": "kSameAsRequested"}),
        ("CPUExecutionProvider", {}),
    ]


def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a GPU, it is hidden."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_provider_that_can_not_be_loaded_is_an_error(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    without_gpu(monkeypatch)
    with pytest.raises(ModelNotReady, match=r"^ONNX Runtime \S+ can't (load its provider|use the GPU).*pip install"):
        try_device(Device("cuda", providers=(Provider(provider),)))


def test_a_version_never_goes_on_with_the_cpu_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_gpu(monkeypatch)
    described = write_model(tmp_path, [helper.make_node("Add", ["x", "x"], ["y"])], [X], [Y])
    with pytest.raises(ModelNotReady, match="can't load its provider 'cuda'"):
        OnnxRuntime(tmp_path, described, 1, CUDA)
