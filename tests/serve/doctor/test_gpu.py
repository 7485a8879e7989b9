"""GPUs that are not here, and drivers and libraries that can't be used."""

from __future__ import annotations

from pathlib import Path

from model_store.errors import ModelNotReady
from serve.devices import Device, Gpu
from serve.doctor.gpu import check_gpus

H200 = Gpu("NVIDIA H200", 141 * 2**30)


def none_here() -> tuple[Gpu, ...]:
    raise ModelNotReady("there is no NVIDIA driver here (libcuda.so.1: cannot open shared object file)")


def fail(device: Device) -> None:
    raise ModelNotReady("ONNX Runtime 1.31 can't load its provider 'cuda' (libcudnn.so.9); pip install it")


def test_without_a_gpu_models_compute_on_cpus(tmp_path: Path) -> None:
    (found,) = check_gpus(find=none_here, device_file=tmp_path / "absent")
    assert (found.level, found.text) == ("ok", "no GPU here: models compute on CPUs")


def test_a_model_that_asks_for_a_gpu_that_is_not_here_is_a_problem(tmp_path: Path) -> None:
    (found,) = check_gpus(("resnet",), find=none_here, device_file=tmp_path / "absent")
    assert (found.level, found.text.endswith("(asked for by resnet)")) == ("problem", True)


def test_a_driver_that_can_not_be_used_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    (found,) = check_gpus(find=none_here, device_file=tmp_path / "nvidiactl")
    assert found.level == "warning"


def test_missing_cuda_libraries_are_told_with_what_to_do() -> None:
    gpu, found = check_gpus(find=lambda: (H200,), try_cuda=fail)
    assert (gpu.level, gpu.text) == ("ok", "NVIDIA H200, 144384 MiB")
    assert (found.level, found.advice) == ("warning", "pip install it")
    assert found.text == "ONNX Runtime 1.31 can't load its provider 'cuda' (libcudnn.so.9)"
    assert [each.level for each in check_gpus(("m",), lambda: (H200,), fail)] == ["ok", "problem"]


def test_a_gpu_that_onnx_runtime_can_use_is_fine() -> None:
    found = list(check_gpus(find=lambda: (H200,), try_cuda=lambda device: None))
    assert [each.level for each in found] == ["ok", "ok"]
