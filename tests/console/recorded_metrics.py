"""Metrics as `/metrics` gives them, counted on with time: so many calls a second, so long each."""

from __future__ import annotations

import math

from serve.dialects.base import HttpReply

RATES = {("shared", "1"): 54.0, ("shared", "2"): 6.0, ("cifar", "1"): 12.0, ("digits", "1"): 240.0}
LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, math.inf)
BELOW = (0.2, 0.55, 0.8, 0.93, 0.985, 0.999, 1.0)
"""Shares of the calls that are answered within those."""
BEGAN_S = 1_790_000_000


def metrics_reply(now_s: float) -> HttpReply:
    lines = ["# TYPE onegate_requests_total counter"]
    for (model, version), per_s in RATES.items():
        lines += _of_version(f'model="{model}",version="{version}"', (now_s - BEGAN_S) * per_s, now_s)
    return HttpReply(200, ("\n".join(lines) + "\n").encode(), [("content-type", "text/plain; version=0.0.4")])


def _of_version(labels: str, calls: float, now_s: float) -> list[str]:
    calls += 40 * math.sin(now_s / 7)
    lines = [
        f'onegate_requests_total{{{labels},dialect="open_inference"}} {calls:.0f}',
        f'onegate_request_errors_total{{{labels},dialect="open_inference",kind="InvalidInput"}} {calls * 0.004:.0f}',
        f"onegate_batch_fill_ratio_sum{{{labels}}} {calls * 0.4 * 0.62:.3f}",
        f"onegate_batch_fill_ratio_count{{{labels}}} {calls * 0.4:.0f}",
        f"onegate_queue_rows{{{labels}}} {3 + 2 * math.sin(now_s / 5):.0f}",
        f'onegate_replicas{{{labels},state="ready"}} 1',
        f'onegate_replicas{{{labels},state="wanted"}} 1',
    ]
    for bound, share in zip(LATENCIES_S, BELOW, strict=True):
        le = "+Inf" if math.isinf(bound) else f"{bound:g}"
        name = f'onegate_request_duration_seconds_bucket{{{labels},dialect="open_inference",le="{le}"}}'
        lines.append(f"{name} {calls * share:.0f}")
    return lines
