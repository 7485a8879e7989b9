"""The check of a GPU, as far as a machine without one can run it: its models, its measuring, and that it says so."""

from __future__ import annotations

import pytest

from serve.devices import CPU
from tests.gpu.check import Report, lines
from tests.gpu.graphs import MODELS
from tests.gpu.measuring import Outcome, Speed, compare


@pytest.mark.parametrize("model", MODELS)
def test_a_device_that_is_the_cpu_itself_answers_the_same(model: str) -> None:
    outcome = compare(model, CPU, threads=1, batches=(1, 2), run_s=0.0)
    assert (outcome.model, outcome.max_rel_error, outcome.failure) == (model, 0.0, None)
    assert [speed.batch for speed in outcome.speeds] == [1, 2]
    assert list(outcome.nodes) == ["CPUExecutionProvider"]
    assert list(outcome.options) == ["CPUExecutionProvider"]


def test_without_a_gpu_it_says_that_nothing_was_shown() -> None:
    assert lines(Report("there is no NVIDIA driver here")) == [
        "skipped: no CUDA device (there is no NVIDIA driver here)",
        "Nothing was shown: no model ran on a GPU.",
    ]


def test_a_failure_is_told_beside_what_was_measured() -> None:
    outcome = Outcome("conv", 0.5, "error 0.5 of the output's scale", (Speed(8, 100.0, 2500.0),), {"CUDA": 3}, {})
    assert lines(Report(None, "1.31", cpu_threads=4, outcomes=(outcome,))) == [
        "ONNX Runtime 1.31; CPU with 4 threads; GPUs:",
        "",
        "conv, as served",
        "  error 0.5 of the scale; bound 0.0001",
        "  FAILED: error 0.5 of the output's scale",
        "  nodes: 3 on CUDA",
        "  batch    8:        100 rows/s on the CPU,       2500 on the GPU, x 25.0",
    ]
