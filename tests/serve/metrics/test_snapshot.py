"""The page as Prometheus reads it: names, values, labels, and what makes none."""

from __future__ import annotations

import pytest

from serve.devices import CPU
from serve.metrics.buckets import Sizes
from serve.metrics.controller_counts import CONVERSION_BOUNDS_S, Counted
from serve.metrics.counts import GatewayCounts, Present, VersionCounts, VersionReport
from serve.metrics.gpus import GpuUse
from serve.metrics.ledger import Ledger
from serve.metrics.names import FAMILIES
from serve.reports import GatewayReport, ReplicaReport
from serve.rollouts.comparison import Comparison
from serve.routing import Replica
from tests.serve.metrics.counting import gateway_counts, page_of, requests, row, series, value, version_counts

V1, V2 = ("m", 1), ("m", 2)
LABELS = {"model": "m", "version": "1"}


def heard(*reports: VersionReport, present: Present | None = None) -> Ledger:
    ledger = Ledger()
    ledger.hear("a", GatewayCounts(list(reports), present=[] if present is None else [present], memory_bytes=4096))
    ledger.follow({"a"}, {V1: "1", V2: "2"})
    return ledger


def test_requests_are_told_by_model_version_and_dialect() -> None:
    counts = VersionCounts({"plain": requests(3, 1_500_000, Overloaded=1), "open_inference_grpc": requests(2)})
    counts.requests["plain"].cancelled = 4
    found = series(page_of(heard(VersionReport("m", 1, 1, counts)), {V1: "1"}))
    plain = LABELS | {"dialect": "plain"}
    assert value(found, "onegate_requests_total", **plain) == 3
    assert value(found, "onegate_requests_total", **LABELS, dialect="open_inference_grpc") == 2
    assert value(found, "onegate_request_errors_total", **plain, kind="Overloaded") == 1
    assert value(found, "onegate_requests_cancelled_total", **plain) == 4
    assert value(found, "onegate_request_duration_seconds_count", **plain) == 3
    assert value(found, "onegate_request_duration_seconds_sum", **plain) == 0.0045
    assert value(found, "onegate_request_duration_seconds_bucket", **plain, le="0.001") == 0
    assert value(found, "onegate_request_duration_seconds_bucket", **plain, le="0.002") == 3
    assert value(found, "onegate_request_duration_seconds_bucket", **plain, le="+Inf") == 3


def test_triton_s_names_tell_the_same_numbers() -> None:
    counts = version_counts(5)
    counts.requests["open_inference"].errors["InvalidInput"] = 2
    counts.hits, counts.hits_ns, counts.misses = 3, 9_000, 1
    found = series(page_of(heard(VersionReport("m", 1, 1, counts), present=Present("m", 1, 7, 0)), {V1: "1"}))
    # prometheus-client gives every counter that ending.
    told = {name.removesuffix("_total"): number for (name, _), number in found.items() if name.startswith("nv_")}
    assert told == {
        "nv_inference_request_success": 3,
        "nv_inference_request_failure": 2,
        "nv_inference_count": 5,
        "nv_inference_exec_count": 5,
        "nv_inference_request_duration_us": 5000,
        "nv_inference_queue_duration_us": 0,
        "nv_inference_compute_infer_duration_us": 5000,
        "nv_inference_pending_request_count": 7,
        "nv_cache_num_hits_per_model": 3,
        "nv_cache_num_misses_per_model": 1,
        "nv_cache_hit_duration_per_model": 9,
        "nv_cache_miss_duration_per_model": 0,
    }


def test_a_version_is_told_by_what_clients_call_it() -> None:
    ledger = Ledger()
    ledger.hear("a", gateway_counts({V1: 1}))
    ledger.follow({"a"}, {V1: "2026-01"})
    found = series(page_of(ledger, {V1: "2026-01"}))
    assert value(found, "onegate_requests_total", model="m", version="2026-01", dialect="open_inference") == 1


def test_only_models_that_are_known_have_refusals_under_their_name() -> None:
    ledger = Ledger()
    ledger.hear(
        "a",
        GatewayCounts(
            refusals={("", "plain", "ModelNotFound"): 1, ("m", "plain", "ModelNotReady"): 2, ("old", "plain", "X"): 3}
        ),
    )
    found = series(page_of(ledger, {V1: "1"}))
    errors = {labels: number for (name, labels), number in found.items() if name == "onegate_request_errors_total"}
    assert errors == {
        frozenset({("model", ""), ("version", ""), ("dialect", "plain"), ("kind", "ModelNotFound")}): 1,
        frozenset({("model", "m"), ("version", ""), ("dialect", "plain"), ("kind", "ModelNotReady")}): 2,
    }


def test_labels_are_escaped() -> None:
    odd = 'quote " backslash \\ line\nend'
    found = series(page_of(Ledger(), {}, models=[row("m", 1, "1", state=odd)]))
    assert [dict(labels)["state"] for name, labels in found if name == "onegate_version_info"] == [odd]


def test_states_traffic_and_replicas_are_as_in_the_state() -> None:
    models = [
        row("m", 1, "1", traffic=90, executor="replicas", replicas={"ready": 1, "wanted": 2}),
        row("n", None, None, state="CONVERTING", executor=None, runtime=None, device=None, traffic=0),
    ]
    found = series(page_of(heard(), {V1: "1"}, models=models))
    info = {"state": "READY", "executor": "replicas", "runtime": "onnx", "device": "cpu"}
    assert value(found, "onegate_version_info", **LABELS, **info) == 1
    nothing = {"model": "n", "version": "", "state": "CONVERTING", "executor": "", "runtime": "", "device": ""}
    assert value(found, "onegate_version_info", **nothing) == 1
    assert value(found, "onegate_traffic_percent", **LABELS) == 90
    assert value(found, "onegate_traffic_percent", model="n", version="") is None
    assert value(found, "onegate_replicas", **LABELS, state="ready") == 1
    assert value(found, "onegate_replicas", **LABELS, state="wanted") == 2


def test_what_is_under_way_is_zero_where_there_is_nothing() -> None:
    found = series(page_of(heard(present=Present("m", 1, 2, 9)), {V1: "1", V2: "2"}))
    assert value(found, "onegate_requests_in_flight", **LABELS) == 2
    assert value(found, "onegate_queue_rows", **LABELS) == 9
    assert value(found, "onegate_requests_in_flight", model="m", version="2") == 0


def test_processes_tell_their_memory_and_replicas_their_gpus() -> None:
    report = ReplicaReport(
        Replica("r1", "node", "", ""),
        V1,
        "",
        device=CPU,
        busy=0.25,
        memory_bytes=99,
        gpus=(GpuUse("GPU-7", 3, 4, 0.5),),
    )
    gateways = {"a": GatewayReport("a", 1, {}, node="node")}
    found = series(page_of(heard(), {V1: "1"}, replicas=[report], gateways=gateways))
    of_replica = LABELS | {"replica": "r1", "node": "node"}
    assert value(found, "onegate_replica_busy_ratio", **of_replica) == 0.25
    assert value(found, "onegate_replica_memory_bytes", **of_replica) == 99
    of_gpu = {"node": "node", "gpu": "GPU-7"}
    assert value(found, "onegate_gpu_memory_used_bytes", **of_gpu) == 3
    assert value(found, "onegate_gpu_memory_total_bytes", **of_gpu) == 4
    assert value(found, "onegate_gpu_utilisation_ratio", **of_gpu) == 0.5
    assert value(found, "onegate_gateways") == 1
    assert value(found, "onegate_gateway_memory_bytes", gateway="a", node="node") == 4096


def test_rollouts_tell_their_share_and_how_far_answers_agree() -> None:
    comparison = Comparison(0, compared=200, agreeing=150)
    rollout = {"model": "m", "stable": 1, "canary": 2, "percent": 25}
    told = {"rollouts": [rollout], "comparisons": {("m", 1, 2): comparison, ("m", 1, 3): Comparison(0)}}
    found = series(page_of(heard(), {V1: "1", V2: "2"}, **told))
    assert value(found, "onegate_rollout_percent", model="m", stable="1", canary="2") == 25
    assert value(found, "onegate_rollout_disagreement_ratio", model="m", stable="1", other="2") == 0.25
    assert value(found, "onegate_rollout_disagreement_ratio", model="m", stable="1", other="3") is None


def test_ended_rollouts_are_told_by_how_they_ended_zeros_too() -> None:
    ended = {("m", "finished"): 3, ("m", "rolled_back"): 0}
    found = series(page_of(Ledger(), {}, ended_rollouts=ended))
    assert value(found, "onegate_rollouts_ended_total", model="m", outcome="finished") == 3
    assert value(found, "onegate_rollouts_ended_total", model="m", outcome="rolled_back") == 0


def test_conversions_and_store_operations_are_told() -> None:
    took = Sizes.within(CONVERSION_BOUNDS_S)
    took.add(3.5, CONVERSION_BOUNDS_S)
    counted = Counted({("onnx", "onnx"): 1, ("keras", "failed"): 2}, {"onnx": took}, {("publish", "ok"): 1})
    found = series(page_of(Ledger(), {}, counted=counted, generation=7))
    assert value(found, "onegate_conversions_total", framework="onnx", outcome="onnx") == 1
    assert value(found, "onegate_conversions_total", framework="keras", outcome="failed") == 2
    assert value(found, "onegate_conversion_duration_seconds_bucket", framework="onnx", le="5") == 1
    assert value(found, "onegate_conversion_duration_seconds_sum", framework="onnx") == 3.5
    assert value(found, "onegate_store_operations_total", operation="publish", outcome="ok") == 1
    assert value(found, "onegate_generation") == 7


def test_a_version_that_never_ran_has_no_histograms_of_batches() -> None:
    found = series(page_of(heard(VersionReport("m", 1, 1, VersionCounts())), {V1: "1"}))
    assert not any(name.startswith("onegate_batch") for name, _ in found)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_names_follow_prometheus_s_rules(family: object) -> None:
    from serve.metrics.names import Family

    assert isinstance(family, Family)
    if family.name.startswith("onegate_"):
        assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.help.endswith(".")
