"""The answer to `GET /metrics`: what the controller knows at a moment, and the page that is made of it.

The moment is taken on the controller's loop, where everything stands still; the page is made in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from serve.metrics import names
from serve.metrics.buckets import DURATION_BOUNDS_S, FILL_BOUNDS, ROW_BOUNDS, Durations
from serve.metrics.controller_counts import CONVERSION_BOUNDS_S, Counted
from serve.metrics.counts import Present, VersionCounts
from serve.metrics.exposition import Page
from serve.metrics.gpus import GpuUse
from serve.metrics.ledger import Parts
from serve.reports import GatewayReport, ReplicaReport
from serve.rollouts.comparison import Comparison
from serve.rollouts.ended import Outcome
from serve.rollouts.observations import PairKey
from serve.routing import VersionKey

_NO_VERSION = ""


class Snapshot(msgspec.Struct, frozen=True):
    """`models` are the rows of `GET /api/state`, and `rollouts` those under way, as that path tells them. `called` is
    what clients call each version by, those included that went a short while ago; `known` are the names of all models.
    """

    generation: int
    models: Sequence[Mapping[str, Any]]
    rollouts: Sequence[Mapping[str, Any]]
    comparisons: Mapping[PairKey, Comparison]
    known: frozenset[str]
    called: Mapping[VersionKey, str]
    counts: Parts
    present: Mapping[VersionKey, Present]
    gateways: Mapping[str, GatewayReport]
    gateway_bytes: Mapping[str, int]
    replicas: Sequence[ReplicaReport]
    counted: Counted
    ended_rollouts: Mapping[tuple[str, Outcome], int]
    """By model and outcome."""


def encoded_page(snapshot: Snapshot) -> bytes:
    """The body."""
    page, total = Page(), snapshot.counts.total()
    for key, counts in sorted(total.versions.items()):
        if key in snapshot.called:
            labels = (key[0], snapshot.called[key])
            _add_requests(page, labels, counts)
            _add_batches(page, labels, counts)
            _add_triton(page, labels, counts)
    for (model, dialect, kind), count in sorted(total.refusals.items()):
        if not model or model in snapshot.known:
            page.add(names.ERRORS, (model, _NO_VERSION, dialect, kind), count)
    _add_present(page, snapshot)
    for row in snapshot.models:
        _add_version(page, row, snapshot.called.get((row["name"], row["version"]), _NO_VERSION))
    _add_replicas(page, snapshot)
    _add_rollouts(page, snapshot)
    _add_controller(page, snapshot)
    return page.encoded()


def _add_requests(page: Page, labels: tuple[str, str], counts: VersionCounts) -> None:
    for dialect, requests in counts.requests.items():
        of_dialect = (*labels, dialect)
        page.add(names.REQUESTS, of_dialect, requests.took.count)
        page.add(names.CANCELLED, of_dialect, requests.cancelled)
        for kind, count in requests.errors.items():
            page.add(names.ERRORS, (*of_dialect, kind), count)
        _add_durations(page, names.REQUEST_DURATION, of_dialect, requests.took)


def _add_batches(page: Page, labels: tuple[str, str], counts: VersionCounts) -> None:
    page.add(names.ROWS, labels, counts.rows)
    if counts.hits or counts.misses:
        page.add(names.CACHE_HITS, labels, counts.hits)
        page.add(names.CACHE_MISSES, labels, counts.misses)
    if not counts.batch.count:
        return
    _add_durations(page, names.QUEUE_DURATION, labels, counts.queue)
    _add_durations(page, names.BATCH_DURATION, labels, counts.batch)
    page.add_histogram(names.BATCH_ROWS, labels, ROW_BOUNDS, counts.batch_rows.counts, counts.batch_rows.total)
    page.add_histogram(names.BATCH_FILL, labels, FILL_BOUNDS, counts.fill.counts, counts.fill.total)


def _add_durations(page: Page, family: names.Family, labels: tuple[str, ...], took: Durations) -> None:
    page.add_histogram(family, labels, DURATION_BOUNDS_S, took.counts, took.ns / 1e9)


def _add_triton(page: Page, labels: tuple[str, str], counts: VersionCounts) -> None:
    requests = counts.requests.values()
    failed = sum(each.failed for each in requests)
    page.add(names.NV_SUCCESS, labels, sum(each.took.count for each in requests) - failed)
    page.add(names.NV_FAILURE, labels, failed)
    page.add(names.NV_COUNT, labels, counts.rows)
    page.add(names.NV_EXEC_COUNT, labels, counts.batch.count)
    page.add(names.NV_REQUEST_US, labels, sum(each.took.ns for each in requests) // 1000)
    page.add(names.NV_QUEUE_US, labels, counts.queue.ns // 1000)
    page.add(names.NV_COMPUTE_US, labels, counts.batch.ns // 1000)
    if counts.hits or counts.misses:
        page.add(names.NV_CACHE_HITS, labels, counts.hits)
        page.add(names.NV_CACHE_MISSES, labels, counts.misses)
        page.add(names.NV_CACHE_HIT_US, labels, counts.hits_ns // 1000)
        page.add(names.NV_CACHE_MISS_US, labels, counts.misses_ns // 1000)


def _add_present(page: Page, snapshot: Snapshot) -> None:
    for row in snapshot.models:
        key = (row["name"], row["version"])
        if key not in snapshot.called:
            continue
        labels = (row["name"], snapshot.called[key])
        present = snapshot.present.get(key, Present(*key, 0, 0))
        page.add(names.IN_FLIGHT, labels, present.in_flight)
        page.add(names.QUEUE_ROWS, labels, present.waiting_rows)
        page.add(names.NV_PENDING, labels, present.in_flight)


def _add_version(page: Page, row: Mapping[str, Any], called: str) -> None:
    labels = (row["name"], called)
    described = (row[name] or "" for name in ("state", "executor", "runtime", "device"))
    page.add(names.VERSION_INFO, (*labels, *described), 1)
    if called:
        page.add(names.TRAFFIC, labels, row["traffic"])
        for state in ("ready", "wanted"):
            page.add(names.REPLICAS, (*labels, state), row["replicas"][state])


def _add_replicas(page: Page, snapshot: Snapshot) -> None:
    gpus: dict[tuple[str, str], GpuUse] = {}
    for report in sorted(snapshot.replicas, key=lambda each: each.replica.id):
        if report.key not in snapshot.called:
            continue
        labels = (report.key[0], snapshot.called[report.key], report.replica.id, report.replica.node)
        page.add(names.REPLICA_BUSY, labels, report.busy)
        page.add(names.REPLICA_MEMORY, labels, report.memory_bytes)
        # Each replica of a node tells of all its GPUs.
        gpus |= {(report.replica.node, gpu.gpu): gpu for gpu in report.gpus}
    for of_gpu, gpu in sorted(gpus.items()):
        page.add(names.GPU_USED, of_gpu, gpu.used_bytes)
        page.add(names.GPU_TOTAL, of_gpu, gpu.total_bytes)
        page.add(names.GPU_UTILISATION, of_gpu, gpu.utilisation)


def _add_rollouts(page: Page, snapshot: Snapshot) -> None:
    def called(model: str, version: int) -> str:
        return snapshot.called.get((model, version), str(version))

    for rollout in snapshot.rollouts:
        model = rollout["model"]
        pair = (model, called(model, rollout["stable"]), called(model, rollout["canary"]))
        page.add(names.ROLLOUT_PERCENT, pair, rollout["percent"])
    for model_and_outcome, count in sorted(snapshot.ended_rollouts.items()):
        page.add(names.ROLLOUTS_ENDED, model_and_outcome, count)
    for (model, stable, other), comparison in sorted(snapshot.comparisons.items()):
        if comparison.compared:
            pair = (model, called(model, stable), called(model, other))
            page.add(names.DISAGREEMENT, pair, 1 - comparison.agreeing / comparison.compared)


def _add_controller(page: Page, snapshot: Snapshot) -> None:
    page.add(names.GATEWAYS, (), len(snapshot.gateways))
    for gateway, used_bytes in snapshot.gateway_bytes.items():
        if gateway in snapshot.gateways:
            page.add(names.GATEWAY_MEMORY, (gateway, snapshot.gateways[gateway].node), used_bytes)
    page.add(names.GENERATION, (), snapshot.generation)
    counted = snapshot.counted
    for framework_and_outcome, count in sorted(counted.conversions.items()):
        page.add(names.CONVERSIONS, framework_and_outcome, count)
    for framework, took in sorted(counted.conversion_s.items()):
        page.add_histogram(names.CONVERSION_DURATION, (framework,), CONVERSION_BOUNDS_S, took.counts, took.total)
    for operation_and_outcome, count in sorted(counted.operations.items()):
        page.add(names.STORE_OPERATIONS, operation_and_outcome, count)
