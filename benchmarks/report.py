"""The result for people, as a table, and for programs, as a JSON file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.rounds import ALONE, Plan, Sample
from benchmarks.summary import Bar, Row, Spread, Summary

RESULTS = Path(__file__).parent / "results"
FORMAT = 1

TITLES = {
    ALONE: "bare ONNX Runtime, no server up",
    "inline": "onegate inline",
    "replicas": "onegate replicas (1)",
    "ray serve": "Ray Serve, as in its tutorial",
}


class Part(msgspec.Struct, frozen=True):
    """All about one model."""

    model: str
    threads: int
    """Intra-op threads of ONNX Runtime, the same for all."""
    plan: Plan
    idle_cpu_percent: dict[str, float]
    """Server -> share of the machine that it uses unasked; all of them run during all rounds."""
    notes: list[str]
    summary: Summary
    samples: list[Sample]


class Report(msgspec.Struct, frozen=True):
    """The whole run."""

    format: int
    started: str
    """UTC, ISO 8601."""
    seconds: float
    machine: Machine
    versions: dict[str, str]
    revision: str | None
    parts: dict[str, Part]


def default_path(report: Report, only: str | None) -> Path:
    """`results/serving-<date>-<cpu>.json`, with the part's name when there is only one."""
    words = re.sub(r"\((r|tm)\)|processor|cpu|@.*", " ", report.machine.cpu.lower())
    cpu = re.sub(r"[^a-z0-9]+", "-", f"{words} {report.machine.cores} cores").strip("-")
    suffix = f"-{only}" if only else ""
    return RESULTS / f"serving-{report.started[:10]}-{cpu}{suffix}.json"


def write_report(report: Report, path: Path) -> None:
    """Writes the JSON file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def print_report(console: Console, report: Report) -> None:
    """The tables of all parts, the bars below them."""
    machine = report.machine
    console.print(
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {machine.kernel}; "
        + ", ".join(f"{name} {version}" for name, version in report.versions.items()),
        soft_wrap=True,
    )
    for part in report.parts.values():
        console.print()
        console.print(_table(part))
        for bar in part.summary.bars:
            console.print(_bar_line(bar), soft_wrap=True)
        for note in part.notes:
            console.print(f"note: {note}", style="yellow", soft_wrap=True, markup=False)


def _table(part: Part) -> Table:
    plan, rows = part.plan, part.summary.rows
    title = f"{part.model}; {part.threads} thread(s), {plan.rounds} round(s) of {plan.duration_s} s each"
    table = Table("what", title=title, box=box.SIMPLE_HEAD, title_justify="left")
    columns = _columns(part)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(_title(row), *(cell(row) for cell in columns.values()))
    return table


def _columns(part: Part) -> dict[str, Callable[[Row], str]]:
    """Heading -> what stands in a row."""
    plan, summary = part.plan, part.summary
    columns: dict[str, Callable[[Row], str]] = {"requests/s": lambda row: _number(row.rows_per_s.median)}
    if plan.rounds > 1:
        columns["least"] = lambda row: _number(row.rows_per_s.least)
        columns["most"] = lambda row: _number(row.rows_per_s.most)
    if any(row.times_ray_serve for row in summary.rows):
        columns["x Ray Serve"] = lambda row: _number(row.times_ray_serve.median) if row.times_ray_serve else ""
    columns["of bare"] = lambda row: _number(row.share_of_bare.median)
    if summary.best_batch != plan.batches[0]:
        columns[f"of bare, batch {summary.best_batch}"] = lambda row: _number(row.share_of_best_bare.median)
    columns[f"p50/p99 ms at {plan.many}"] = lambda row: _latencies(row.ms_at_many) if row.ms_at_one else ""
    # A loop is one caller.
    columns["p50/p99 ms at 1"] = lambda row: _latencies(row.ms_at_one or row.ms_at_many)
    return columns


def _title(row: Row) -> str:
    return TITLES.get(row.contestant, f"bare ONNX Runtime, batch {row.batch}")


def _latencies(values: tuple[float, float]) -> str:
    return " / ".join(_number(value) for value in values)


def _number(value: float) -> str:
    """Three digits that count, thousands apart."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}" if value >= 0.01 else f"{value:.2g}"


def _bar_line(bar: Bar) -> str:
    verdict = "[green]yes[/]" if bar.reached else "[red]no[/]"
    return f"  {verdict}  {bar.claim}: {_range(bar.measured)}, wanted at least {bar.wanted:g}"


def _range(spread: Spread) -> str:
    if spread.least == spread.most:
        return _number(spread.median)
    return f"{_number(spread.median)} ({_number(spread.least)} to {_number(spread.most)})"
