"""A gateway's state and metrics as `onegate top` gets them, at two times."""

from __future__ import annotations

from typing import Any


def row(name: str, **keys: Any) -> dict[str, Any]:
    return {
        "name": name,
        "version": 1,
        "called": "1",
        "state": "READY",
        "default": True,
        "labels": [],
        "traffic": 100,
        "shadow": None,
        "kept_until": None,
        "executor": "inline",
        "device": "cpu",
        "replicas": {"ready": 1, "wanted": 1, "min": 1, "max": 1},
        "reason": None,
    } | keys


STATE: dict[str, Any] = {
    "gateway": {"http": "http://127.0.0.1:8080", "grpc": "127.0.0.1:8081", "management": "http://127.0.0.1:8082"},
    "generation": 3,
    "models": [
        row("digits"),
        row(
            "ranker",
            version=4,
            called="b",
            executor="replicas",
            replicas={"ready": 1, "wanted": 2, "min": 2, "max": 2},
            traffic=90,
        ),
        row("new", version=None, called=None, state="FAILED", executor=None, traffic=0, reason="no such [file]"),
    ],
    "rollouts": [],
}


def metrics(*, digits: int, slow: int, errors: int, unknown: int) -> str:
    """So many requests for `digits` on two dialects, `slow` ones for `ranker`, failed ones of these, and ones for
    unknown models."""
    ranker = 'model="ranker",version="b"'
    return f"""\
# HELP onegate_requests_total Requests that ended.
# TYPE onegate_requests_total counter
onegate_requests_total{{model="digits",version="1",dialect="open_inference"}} {digits}.0
onegate_requests_total{{model="digits",version="1",dialect="plain"}} {digits}.0
onegate_requests_total{{{ranker},dialect="plain"}} {slow}.0
# TYPE onegate_request_errors_total counter
onegate_request_errors_total{{{ranker},dialect="plain",kind="Overloaded"}} {errors}.0
onegate_request_errors_total{{model="",version="",dialect="plain",kind="ModelNotFound"}} {unknown}.0
# TYPE onegate_request_duration_seconds histogram
onegate_request_duration_seconds_bucket{{model="digits",version="1",dialect="plain",le="0.001"}} {digits}.0
onegate_request_duration_seconds_bucket{{model="digits",version="1",dialect="plain",le="+Inf"}} {digits}.0
onegate_request_duration_seconds_bucket{{{ranker},dialect="plain",le="0.01"}} 0.0
onegate_request_duration_seconds_bucket{{{ranker},dialect="plain",le="0.02"}} {slow}.0
onegate_request_duration_seconds_bucket{{{ranker},dialect="plain",le="+Inf"}} {slow}.0
# TYPE onegate_batch_rows histogram
onegate_batch_rows_bucket{{{ranker},le="+Inf"}} {slow / 4}
onegate_batch_rows_count{{{ranker}}} {slow / 4}
onegate_batch_rows_sum{{{ranker}}} {slow}.0
onegate_batch_fill_ratio_count{{{ranker}}} {slow / 4}
onegate_batch_fill_ratio_sum{{{ranker}}} {slow / 8}
# TYPE onegate_requests_in_flight gauge
onegate_requests_in_flight{{{ranker}}} 7.0
onegate_queue_rows{{{ranker}}} 21.0
onegate_gateways 2.0
nv_inference_count{{model="digits",version="1"}} 99.0
"""
