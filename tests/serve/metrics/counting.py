"""Counts and pages of them, for tests of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from serve.metrics.controller_counts import Counted
from serve.metrics.counts import GatewayCounts, Refusals, RequestCounts, VersionCounts, VersionReport
from serve.metrics.ledger import Ledger
from serve.metrics.snapshot import Snapshot, encoded_page
from serve.routing import VersionKey

MS = 10**6
NOTHING_COUNTED = Counted({}, {}, {})

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def requests(count: int, ns: int = MS, **errors: int) -> RequestCounts:
    """So many requests that took `ns` each."""
    counted = RequestCounts(errors=errors)
    for _ in range(count):
        counted.took.add(ns)
    return counted


def version_counts(count: int, dialect: str = "open_inference") -> VersionCounts:
    """So many requests of one row, each in a batch of its own."""
    counts = VersionCounts({dialect: requests(count)}, rows=count)
    for _ in range(count):
        counts.batch.add(MS)
    return counts


def gateway_counts(counted: Mapping[VersionKey, int], life: int = 1, refusals: Refusals | None = None) -> GatewayCounts:
    """A gateway's report of requests by version."""
    reports = [VersionReport(*key, life, version_counts(count)) for key, count in counted.items()]
    return GatewayCounts(reports, refusals)


def requests_of(ledger: Ledger, key: VersionKey = ("m", 1)) -> int:
    """How many requests of the version the ledger knows of."""
    counts = ledger.parts().total().versions.get(key, VersionCounts())
    return sum(each.took.count for each in counts.requests.values())


def page_of(ledger: Ledger, called: Mapping[VersionKey, str], **told: Any) -> bytes:
    """The page of a controller that has these versions and whose gateways told the ledger what they counted."""
    models = [row(*key, called=text) for key, text in called.items()]
    known: dict[str, Any] = {
        "generation": 1, "models": models, "rollouts": [], "comparisons": {},
        "known": frozenset(model for model, _ in called), "called": ledger.called(called.keys()),
        "counts": ledger.parts(), "present": ledger.present(), "gateways": {}, "gateway_bytes": ledger.memory_bytes(),
        "replicas": [], "counted": NOTHING_COUNTED, "ended_rollouts": {},
    }  # fmt: skip
    return encoded_page(Snapshot(**known | told))


def row(model: str, version: int, called: str, **told: Any) -> dict[str, Any]:
    """What `GET /api/state` tells of a version."""
    row: dict[str, Any] = {
        "name": model, "version": version, "called": called, "state": "READY", "executor": "inline", "runtime": "onnx",
        "device": "cpu", "traffic": 100, "replicas": {"ready": 1, "wanted": 1},
    }  # fmt: skip
    return row | told


def series(page: bytes) -> Series:
    """The values of a page as prometheus-client reads it. Fails where one comes twice."""
    found: Series = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            name = (sample.name, frozenset(sample.labels.items()))
            assert name not in found, name
            found[name] = sample.value
    return found


def value(found: Series, name: str, **labels: str) -> float | None:
    """One value; None where there is none."""
    return found.get((name, frozenset(labels.items())))
