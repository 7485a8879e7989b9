"""How long loading and one call take, measured once at conversion: it decides whether a model may run inline."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from converters.base import Arrays, Conversion, Run
from converters.batch import by_batches
from converters.candidates import runs_of
from converters.graph import open_session, runner
from converters.samples import Samples, dynamic_batch, fixed_batch
from model_store.manifest import Profile

BUDGET_S = 0.25
"""Time for each of the batches; a model slower than this is called once."""
MOST_CALLS = 50


def measure_profile(
    conversion: Conversion, optimised: dict[str, str], samples: Samples, largest_batch: int, *, trusted: bool
) -> Profile:
    """Medians on one thread of the version's runtime, at batch one and at the largest.

    A model with a fixed batch is measured at that one only.
    """
    if conversion.runtime != "onnx":
        start = time.perf_counter()
        run = runs_of(conversion, trusted=trusted, threads=1)[conversion.signature_name]
        return _profile(run, samples, largest_batch, _ms_since(start))
    plain, plain_load_ms = _session(conversion.model)
    if conversion.model.name not in optimised:
        return _profile(_padded(plain, conversion), samples, largest_batch, plain_load_ms)
    run, load_ms = _session(conversion.model.parent / optimised[conversion.model.name])
    batch = 1 if dynamic_batch(samples.signature) else fixed_batch(samples.signature)
    return _profile(
        _padded(run, conversion),
        samples,
        largest_batch,
        load_ms,
        plain_batch_one_ms=median_ms(_padded(plain, conversion), samples.draw(batch, 0)),
        plain_load_ms=plain_load_ms,
    )


def _profile(run: Run, samples: Samples, largest_batch: int, load_ms: float, **plain: float) -> Profile:
    if not dynamic_batch(samples.signature):
        batch = fixed_batch(samples.signature)
        median = median_ms(run, samples.draw(batch, 0))
        return Profile(median, batch, median, load_ms, **plain)
    one = median_ms(run, samples.draw(1, 0))
    return Profile(one, largest_batch, median_ms(run, samples.draw(largest_batch, 0)), load_ms, **plain)


def _session(model: Path) -> tuple[Run, float]:
    start = time.perf_counter()
    session = open_session(model, threads=1)
    return runner(session), _ms_since(start)


def _ms_since(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 3)


def _padded(run: Run, conversion: Conversion) -> Run:
    return run if conversion.fixed_batch is None else by_batches(run, conversion.fixed_batch)


def median_ms(run: Run, inputs: Arrays) -> float:
    """Median milliseconds of a few calls, after one that counts only when it used up the time by itself."""
    times: list[float] = []
    start = time.perf_counter()
    run(inputs)
    first_s = time.perf_counter() - start
    if first_s > BUDGET_S:
        return round(first_s * 1000, 4)
    ends = time.perf_counter() + BUDGET_S
    while not times or (len(times) < MOST_CALLS and time.perf_counter() < ends):
        start = time.perf_counter()
        run(inputs)
        times.append((time.perf_counter() - start) * 1000)
    return round(statistics.median(times), 4)
