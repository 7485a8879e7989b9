"""What a gateway has counted, as the `statistics` extension tells it, for HTTP and gRPC.

The keys are the fields of the protocol's `ModelStatistics`. A batch is timed as a whole, so `compute_infer` holds all
of it, and `compute_input` and `compute_output` count the same batches with no time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serve.inference import Statistics
from serve.metrics.buckets import Durations
from serve.statistics import Duration, VersionStatistics


def statistics_document(statistics: Statistics) -> list[dict[str, Any]]:
    """The protocol's `model_stats`: one entry a version, of whole numbers, lists and dicts."""
    return [_version(version) for version in statistics.versions]


def _version(counted: VersionStatistics) -> dict[str, Any]:
    return {
        "name": counted.model,
        "version": counted.version,
        "last_inference": counted.last_inference_ms,
        "inference_count": counted.rows,
        "execution_count": counted.batches,
        "inference_stats": {
            "success": _duration(counted.success),
            "fail": _duration(counted.fail),
            "queue": _duration(counted.queue),
            **_compute(_sum(counted.compute.values())),
            "cache_hit": _duration(counted.cache_hit),
            "cache_miss": _duration(counted.cache_miss),
        },
        "response_stats": {},
        "batch_stats": [{"batch_size": rows, **_compute(counted.compute[rows])} for rows in sorted(counted.compute)],
        "memory_usage": [],
    }


def _compute(batches: Duration) -> dict[str, Any]:
    untimed = Duration(batches.count)
    return {
        "compute_input": _duration(untimed),
        "compute_infer": _duration(batches),
        "compute_output": _duration(untimed),
    }


def _sum(durations: Iterable[Duration]) -> Duration:
    total = Duration()
    for duration in durations:
        total.count += duration.count
        total.ns += duration.ns
    return total


def _duration(duration: Duration | Durations) -> dict[str, int]:
    return {"count": duration.count, "ns": duration.ns}
