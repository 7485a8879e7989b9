"""The rules and the dashboard in `configs/observability`: they name metrics that exist, and fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve.metrics.names import FAMILIES

FOLDER = Path(__file__).parents[3] / "configs/observability"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")

KNOWN = {
    name: set(family.label_names) | ({"le"} if family.kind == "histogram" else set())
    for family in FAMILIES
    for name in (
        [f"{family.name}_{part}" for part in ("bucket", "sum", "count")]
        if family.kind == "histogram"
        else [family.name]
    )
}
"""Series as queries name them -> their labels."""


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    return document


def queries() -> Iterator[tuple[str, str]]:
    """What asks, and the query."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


@pytest.mark.parametrize(("asks", "query"), list(queries()))
def test_queries_name_metrics_and_labels_that_exist(asks: str, query: str) -> None:
    named = re.findall(r"\b((?:onegate|nv)_[a-z_]+)(?:\{([^}]*)\})?", query)
    assert named, asks
    for name, matchers in named:
        assert name in KNOWN, asks
        assert set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', matchers)) <= KNOWN[name], asks


def test_every_metric_of_the_project_s_own_is_on_the_dashboard_or_in_a_rule() -> None:
    asked = " ".join(query for _, query in queries())
    # These are for looking up.
    spare = {"onegate_generation", "onegate_conversion_duration_seconds"}
    missing = {family.name for family in FAMILIES if family.name.startswith("onegate_") and family.name not in asked}
    assert missing == spare


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    taken = set()
    panels = dashboard()["panels"]
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


@needs_promtool
def test_prometheus_takes_the_rules_and_the_configuration(tmp_path: Path) -> None:
    for name in ("alerts.yaml", "prometheus.yaml"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "onegate-metrics.key").write_text("key")
    done = subprocess.run(
        [PROMTOOL or "", "check", "config", "prometheus.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


MODEL = 'model="m",version="1"'
DIALECT = f'{MODEL},dialect="plain"'

FIRING: dict[str, dict[str, str]] = {
    "OnegateDown": {"onegate_gateways": "0x30"},
    "OnegateVersionFailed": {f'onegate_version_info{{{MODEL},state="FAILED"}}': "1x30"},
    "OnegateErrors": {
        f'onegate_request_errors_total{{{DIALECT},kind="InternalError"}}': "0+2x30",
        f"onegate_requests_total{{{DIALECT}}}": "0+100x30",
    },
    "OnegateOverloaded": {f'onegate_request_errors_total{{{DIALECT},kind="Overloaded"}}': "0+1x30"},
    "OnegateSlow": {
        f'onegate_request_duration_seconds_bucket{{{DIALECT},le="1"}}': "0+98x30",
        f'onegate_request_duration_seconds_bucket{{{DIALECT},le="2"}}': "0+100x30",
        f'onegate_request_duration_seconds_bucket{{{DIALECT},le="+Inf"}}': "0+100x30",
    },
    "OnegateReplicasMissing": {
        f'onegate_replicas{{{MODEL},state="ready"}}': "1x30",
        f'onegate_replicas{{{MODEL},state="wanted"}}': "2x30",
    },
    "OnegateAnswersDiffer": {'onegate_rollout_disagreement_ratio{model="m",stable="1",other="2"}': "0.02x30"},
    "OnegateRolledBack": {'onegate_rollouts_ended_total{model="m",outcome="rolled_back"}': "0x20 1x10"},
    "OnegateConversionFailed": {'onegate_conversions_total{framework="keras",outcome="failed"}': "_x20 1x10"},
    "OnegateStoreTrouble": {'onegate_store_operations_total{operation="find",outcome="StoreError"}': "0+1x30"},
    "OnegateGpuMemoryFull": {
        'onegate_gpu_memory_used_bytes{node="n",gpu="g"}': "96x30",
        'onegate_gpu_memory_total_bytes{node="n",gpu="g"}': "100x30",
    },
}
"""Rule -> series, a value a minute, by which it fires after 25 minutes."""

QUIET: dict[str, dict[str, str]] = {
    "OnegateDown": {"onegate_gateways": "1x30"},
    "OnegateErrors": {
        f'onegate_request_errors_total{{{DIALECT},kind="InvalidInput"}}': "0+50x30",
        f"onegate_requests_total{{{DIALECT}}}": "0+100x30",
    },
    "OnegateRolledBack": {
        'onegate_rollouts_ended_total{model="m",outcome="rolled_back"}': "1x30",
        'onegate_rollouts_ended_total{model="m",outcome="finished"}': "0+1x30",
    },
    "OnegateConversionFailed": {'onegate_conversions_total{framework="keras",outcome="failed"}': "1x30"},
    "OnegateReplicasMissing": {
        f'onegate_replicas{{{MODEL},state="ready"}}': "2x30",
        f'onegate_replicas{{{MODEL},state="wanted"}}': "2x30",
    },
}


def firing(folder: Path, alert: str, series: dict[str, str], count: int) -> subprocess.CompletedProcess[str]:
    """Whether promtool finds the rule firing so often after 25 minutes: it compares only labels that are given."""
    shutil.copy(FOLDER / "alerts.yaml", folder)
    expected = [{"expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})', "eval_time": "25m"}]
    if count:
        expected[0]["exp_samples"] = [{"value": count}]  # type: ignore[assignment]
    document = {
        "rule_files": ["alerts.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": expected,
            }
        ],
    }
    (folder / "test.yaml").write_text(yaml.safe_dump(document))
    return subprocess.run(
        [PROMTOOL or "", "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True, timeout=60
    )


def test_there_is_a_case_for_every_rule() -> None:
    assert {rule["alert"] for rule in rules()} == FIRING.keys()


@needs_promtool
@pytest.mark.parametrize("alert", FIRING)
def test_a_rule_fires_when_it_is_meant_to(tmp_path: Path, alert: str) -> None:
    done = firing(tmp_path, alert, FIRING[alert], 1)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("alert", QUIET)
def test_a_rule_is_quiet_otherwise(tmp_path: Path, alert: str) -> None:
    done = firing(tmp_path, alert, QUIET[alert], 0)
    assert done.returncode == 0, done.stdout + done.stderr
