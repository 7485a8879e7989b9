"""`onegate compare MODEL`."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Table

from serve.commands.options import json_option, management_option, model_argument
from serve.commands.rollout_report import ended_line, rollout_line, was_sent_back
from serve.commands.tables import console, headed
from serve.management_client import ManagementClient

_QUANTILES = ("p50", "p90", "p99")


@click.command()
@model_argument()
@management_option
@json_option
def command(client: ManagementClient, model: str, as_json: bool) -> None:
    """Show how the versions that share the calls of MODEL do, and how far a shadow's answers are from theirs.

    \b
    Example:
      onegate compare ranker --json
    """
    report = client.comparison(model)
    if as_json:
        click.echo(json.dumps(report))
        return
    if rollout := report.get("rollout"):
        click.echo("\n  ".join([rollout_line(rollout), *rollout["evidence"]]))
    if (ended := report.get("ended_rollout")) and was_sent_back(ended):
        click.echo("\n  ".join([ended_line(ended), *ended["evidence"]]))
    if reason := report.get("unavailable"):
        click.echo(f"{model}: nothing to compare; no version answers: {reason}")
        return
    if not report["versions"]:
        click.echo(f"{model}: nothing to compare; one version has all calls, and no other gets copies (`shadow: true`)")
        return
    console().print(_version_table(report))
    for comparison in report["comparisons"]:
        click.echo()
        click.echo(_headline(comparison))
        console().print(_output_table(comparison))


def _version_table(report: dict[str, Any]) -> Table:
    table = headed("VERSION", "TRAFFIC", "CALLS", "FAILED", "REFUSED", "P50 MS", "P90 MS", "P99 MS")
    for row in report["versions"]:
        failed = _counts(row["faults"]) if row["faults"] else "0"
        counts = str(row["requests"]), failed, str(row["refused"])
        table.add_row(row["called"], f"{row['traffic']}%", *counts, *_cells(row["latency_ms"], _QUANTILES))
    return table


def _headline(comparison: dict[str, Any]) -> str:
    compared, agreeing = comparison["compared"], comparison["agreeing"]
    share = f" ({agreeing / compared:.2%})" if compared else ""
    parts = [f"{comparison['reference']} -> {comparison['called']} since {comparison['since']}: {compared} compared"]
    parts += [f"{agreeing} agree{share}", f"failed: {_counts(comparison['failures']) or 0}"]
    parts += [f"{comparison['dropped']} dropped"]
    both = comparison["latency_ms"]
    if both["reference"] and both["version"]:
        parts += [f"p50 {both['reference']['p50']:.3g} -> {both['version']['p50']:.3g} ms"]
    return ", ".join(parts)


def _output_table(comparison: dict[str, Any]) -> Table:
    table = headed("OUTPUT", "SAME CLASS", "ERROR P50", "P90", "P99", "MAX", "MISMATCHES")
    for row in comparison["outputs"]:
        agreement = f"{row['agreeing_rows'] / row['rows']:.2%} of {row['rows']}" if row["rows"] else ""
        errors = _cells(row["relative_error"], (*_QUANTILES, "max"))
        table.add_row(row["name"], agreement, *errors, _counts(row["mismatches"]))
    return table


def _cells(values: dict[str, float] | None, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("" if values is None else f"{values[name]:.3g}" for name in names)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
