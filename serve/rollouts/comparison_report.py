"""What is told of a model whose versions share its calls or are compared: `GET /api/models/{m}/comparison`, from which
`onegate compare` prints."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from model_store.errors import ModelNotFound
from serve.rollouts.comparison import ERROR_UNIT, Comparison, OutputDifference
from serve.rollouts.histogram import Histogram
from serve.rollouts.observations import Observations, VersionCounters, watched_keys, watched_pairs
from serve.router import Router

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

_MS = 1e-6


def describe_comparison(model: str, router: Router, seen: Observations) -> dict[str, Any]:
    """The report, JSON-able. Its lists are empty where nothing is compared; where no version answers, `unavailable`
    says why. Raises `ModelNotFound`."""
    route = router.table.routes.get(model)
    if route is None and model not in router.table.unavailable:
        raise ModelNotFound(f"model {model!r} is not served here", model=model)
    shares = {} if route is None else dict(route.split)
    watched = route if route is not None and route.is_watched else None
    keys = watched_keys(model, watched) if watched else []
    pairs = watched_pairs(model, watched) if watched else []
    return {
        "model": model,
        "unavailable": None if route else router.table.unavailable[model],
        "versions": [
            {"version": key[1], "called": router.name_of(key), "traffic": shares[key[1]]}
            | _counted(seen.counters.get(key, VersionCounters()))
            for key in keys
        ],
        "comparisons": [
            {"reference": pair[1], "version": pair[2], "called": router.name_of((model, pair[2]))}
            | _compared(seen.comparisons[pair])
            for pair in pairs
            if pair in seen.comparisons
        ],
    }


def _counted(counters: VersionCounters) -> dict[str, Any]:
    return {
        "requests": counters.requests,
        "failed": counters.failed,
        "faults": counters.faults,
        "refused": counters.refused,
        "latency_ms": _quantiles(counters.latency, _MS),
    }


def _compared(comparison: Comparison) -> dict[str, Any]:
    return {
        "since": datetime.fromtimestamp(comparison.since_ms / 1000, UTC).isoformat(timespec="seconds"),
        "compared": comparison.compared,
        "agreeing": comparison.agreeing,
        "failures": comparison.failures,
        "dropped": comparison.dropped,
        "latency_ms": {
            "reference": _quantiles(comparison.reference_latency, _MS),
            "version": _quantiles(comparison.latency, _MS),
        },
        "outputs": [{"name": name} | _differing(output) for name, output in comparison.outputs.items()],
    }


def _differing(output: OutputDifference) -> dict[str, Any]:
    errors = _quantiles(output.errors, ERROR_UNIT)
    return {
        "rows": output.rows,
        "agreeing_rows": output.agreeing_rows,
        "relative_error": errors and errors | {"max": output.max_error},
        "mismatches": output.mismatches,
    }


def _quantiles(histogram: Histogram, unit: float) -> dict[str, float] | None:
    """None where there are no values."""
    if not histogram.counts:
        return None
    return {name: float(f"{(histogram.quantile(share) or 0.0) * unit:.4g}") for name, share in QUANTILES.items()}
