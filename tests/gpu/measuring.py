"""One model on two devices: how far apart their answers are, how fast each is, and which provider has which node.

Runs what a replica runs: the runtime of `serve/runtimes/onnx.py`, sessions and options included.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime

from converters.comparison import OutputComparison
from model_store.manifest import Manifest
from serve.devices import Device
from serve.runtimes.base import Runtime, load_runtime
from serve.runtimes.onnx_providers import session_providers
from tests.gpu.graphs import MODELS

BATCHES = (1, 8, 32, 128)
SEEDS = (0, 1, 2)
RTOL = 1e-4
"""The parity gate's own bound for float32."""
MEASURE_S = 1.0
"""For each device and batch size; the first runs, which choose kernels and take memory, are not counted."""


class Speed(msgspec.Struct, frozen=True):
    """Rows a second, inputs and outputs in the memory of the CPU as in a replica."""

    batch: int
    cpu: float
    device: float


class Outcome(msgspec.Struct, frozen=True):
    """One model. `max_rel_error` is that of the device to the CPU, of the output's scale, over all batches and seeds;
    `nodes` counts the optimised graph's nodes by the provider that ran them."""

    model: str
    max_rel_error: float
    failure: str | None
    speeds: tuple[Speed, ...]
    nodes: dict[str, int]
    options: dict[str, dict[str, str]]


def compare(
    model: str, device: Device, threads: int, batches: tuple[int, ...] = BATCHES, run_s: float = MEASURE_S
) -> Outcome:
    """A model of `MODELS` on the CPU, with so many threads, and on `device`."""
    with tempfile.TemporaryDirectory(prefix="onegate-gpu-check-") as name:
        folder = Path(name)
        described = MODELS[model](folder)
        here, there = (load_runtime(folder, described, threads, each) for each in (Device(), device))
        comparison = OutputComparison(described.signatures[described.default_signature].outputs[0])
        speeds = []
        for batch in batches:
            for seed in SEEDS:
                inputs = _inputs(described, batch, seed)
                reference, answer = (runtime.run(inputs)["y"] for runtime in (here, there))
                comparison.add(reference, answer, f"batch {batch}, seed {seed}")
            speeds.append(Speed(batch, *(_rows_per_s(runtime, inputs, batch, run_s) for runtime in (here, there))))
        nodes, options = _assigned(folder, device, _inputs(described, batches[0], 0))
    failed = comparison.mismatch
    if failed is None and comparison.max_rel_error > RTOL:
        failed = (
            f"error {comparison.max_rel_error:.2g} of the output's scale at {comparison.worst_run}; wanted {RTOL:g}"
        )
    return Outcome(model, comparison.max_rel_error, failed, tuple(speeds), nodes, options)


def _inputs(described: Manifest, batch: int, seed: int) -> dict[str, np.ndarray]:
    (spec,) = described.signatures[described.default_signature].inputs
    return {"x": np.random.default_rng(seed).standard_normal((batch, *spec.shape[1:])).astype(np.float32)}


def _rows_per_s(runtime: Runtime, inputs: dict[str, np.ndarray], batch: int, run_s: float) -> float:
    for _ in range(3):
        runtime.run(inputs)
    runs, start = 0, time.perf_counter()
    while True:
        runtime.run(inputs)
        runs += 1
        if (spent := time.perf_counter() - start) >= run_s:
            return runs * batch / spent


def _assigned(
    folder: Path, device: Device, inputs: dict[str, np.ndarray]
) -> tuple[dict[str, int], dict[str, dict[str, str]]]:
    """What ONNX Runtime's own profile says of one run, and the options that its providers report."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), options, providers=session_providers(device), enable_fallback=0
    )
    session.run(None, inputs)
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = {event["name"]: event["args"]["provider"] for event in events if event.get("args", {}).get("provider")}
    return dict(Counter(ran.values())), session.get_provider_options()
