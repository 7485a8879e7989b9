"""How long one call takes, measured once at conversion: it decides whether a model may run inline."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from converters.base import Arrays
from converters.graph import open_session
from converters.parity import Run, runner
from converters.samples import Samples, dynamic_batch, fixed_batch
from model_store.manifest import Profile

BUDGET_S = 0.25
"""Time for each of the two batches; a model slower than this is called once after its warm-up."""
MOST_CALLS = 50


def measure_profile(model: Path, samples: Samples, largest_batch: int) -> Profile:
    """Median milliseconds a call on one thread of ONNX Runtime, at batch one and at the largest.

    A model with a fixed batch is measured at that one only.
    """
    run = runner(open_session(model, threads=1))
    if not dynamic_batch(samples.signature):
        batch = fixed_batch(samples.signature)
        median = median_ms(run, samples.draw(batch, 0))
        return Profile(median, batch, median)
    one = median_ms(run, samples.draw(1, 0))
    return Profile(one, largest_batch, median_ms(run, samples.draw(largest_batch, 0)))


def median_ms(run: Run, inputs: Arrays) -> float:
    """Median milliseconds of a few calls, after one that is not counted."""
    run(inputs)
    times: list[float] = []
    ends = time.perf_counter() + BUDGET_S
    while not times or (len(times) < MOST_CALLS and time.perf_counter() < ends):
        start = time.perf_counter()
        run(inputs)
        times.append((time.perf_counter() - start) * 1000)
    return round(statistics.median(times), 4)
