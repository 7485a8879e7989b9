"""What `GET /metrics` has counted of each version, and what happened between two looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from serve.live.exposition import parse_samples

Called = tuple[str, str]
"""A model, and a version as clients call it."""


@dataclass
class VersionCounts:
    """Counted since the start, over all gateways and dialects; the last two are how it is now.

    `latency` is the cumulative histogram of requests: upper bound in seconds -> requests up to there.
    """

    requests: float = 0.0
    errors: float = 0.0
    latency: dict[float, float] = field(default_factory=dict)
    batches: float = 0.0
    batch_rows: float = 0.0
    fills: float = 0.0
    filled: float = 0.0
    in_flight: float = 0.0
    queue_rows: float = 0.0


_SUMMED = {
    "onegate_requests_total": "requests",
    "onegate_request_errors_total": "errors",
    "onegate_batch_rows_count": "batches",
    "onegate_batch_rows_sum": "batch_rows",
    "onegate_batch_fill_ratio_count": "fills",
    "onegate_batch_fill_ratio_sum": "filled",
    "onegate_requests_in_flight": "in_flight",
    "onegate_queue_rows": "queue_rows",
}
_LATENCY = "onegate_request_duration_seconds_bucket"


@dataclass
class Counts:
    """All versions, and how many gateways there are; None where nothing tells."""

    versions: dict[Called, VersionCounts] = field(default_factory=dict)
    gateways: int | None = None

    def of(self, called: Called) -> VersionCounts:
        """Of one version; nothing of one that is not counted yet."""
        return self.versions.get(called) or VersionCounts()


def read_counts(text: str) -> Counts:
    """What a text of Prometheus' format says."""
    counts = Counts()
    for name, labels, value in parse_samples(text, "onegate_"):
        if name == "onegate_gateways":
            counts.gateways = int(value)
        elif name in _SUMMED or name == _LATENCY:
            called = (labels.get("model", ""), labels.get("version", ""))
            version = counts.versions.setdefault(called, VersionCounts())
            if name == _LATENCY:
                bound = float(labels.get("le", "inf"))
                version.latency[bound] = version.latency.get(bound, 0.0) + value
            else:
                setattr(version, _SUMMED[name], getattr(version, _SUMMED[name]) + value)
    return counts


@dataclass(frozen=True)
class Figures:
    """What a version did in a span of time; None where nothing happened that could tell. `batch_fill` is the mean share
    of the largest batch that batches held."""

    requests_per_s: float
    errors_per_s: float
    p50_ms: float | None
    p99_ms: float | None
    batch_rows: float | None
    batch_fill: float | None
    in_flight: int
    queue_rows: int


def between(before: VersionCounts, after: VersionCounts, seconds: float) -> Figures:
    """What happened from one look to another, `seconds` later."""
    latency = {bound: _more(before.latency.get(bound, 0.0), count) for bound, count in after.latency.items()}
    fills, batches = _more(before.fills, after.fills), _more(before.batches, after.batches)
    p50, p99 = quantile(latency, 0.5), quantile(latency, 0.99)
    return Figures(
        requests_per_s=_more(before.requests, after.requests) / seconds,
        errors_per_s=_more(before.errors, after.errors) / seconds,
        p50_ms=None if p50 is None else p50 * 1000,
        p99_ms=None if p99 is None else p99 * 1000,
        batch_rows=_more(before.batch_rows, after.batch_rows) / batches if batches else None,
        batch_fill=_more(before.filled, after.filled) / fills if fills else None,
        in_flight=int(after.in_flight),
        queue_rows=int(after.queue_rows),
    )


def _more(before: float, after: float) -> float:
    """A counter that went back began anew."""
    return after - before if after >= before else after


def quantile(cumulative: Mapping[float, float], share: float) -> float | None:
    """Where in a cumulative histogram that share of its values ends, evenly spread within each bucket; the last finite
    bound for what lies beyond it. None of an empty one."""
    bounds = sorted(cumulative)
    if not bounds or cumulative[bounds[-1]] <= 0:
        return None
    wanted = share * cumulative[bounds[-1]]
    below, lower = 0.0, 0.0
    for bound in bounds:
        if cumulative[bound] >= wanted:
            if bound == float("inf") or cumulative[bound] == below:
                return lower
            return lower + (bound - lower) * (wanted - below) / (cumulative[bound] - below)
        below, lower = cumulative[bound], bound
    return lower
