"""`python -m benchmarks.conversion`: how long does a proven conversion take, beside the framework's own exporter?

Both in a fresh process each time: onegate's sandbox, which converts, compares, optimises and measures; and a script
that loads the source and calls the exporter that the framework's users call, without any proof. README.md says more.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks import conversion_sources
from benchmarks.conversion_sources import ConversionSource
from benchmarks.machine import describe_machine, git_revision, installed_versions
from converters.base import ConversionOptions, detect
from converters.pipeline import ConversionRequest, Converted
from converters.sandbox import run_in_sandbox

MOST_TIMES, MOST_MORE_S = 3.0, 5.0
"""The bar: at most the larger of so many times the exporter's time, and so many seconds more."""
PAGE_WIDTH = 130
"""Of the table where it is not printed to a terminal."""


@click.command()
@click.option("--only", multiple=True, help="Sources by name; all by default.")
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True, help="Both are timed once a round.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Where the result is written."
)
def command(only: tuple[str, ...], rounds: int, json_path: Path | None) -> None:
    """Time onegate's conversion and the framework's own exporter, interleaved.

    \b
    Example:
      python -m benchmarks.conversion --only resnet18-pt2 --rounds 3
    """
    console = Console() if sys.stdout.isatty() else Console(width=PAGE_WIDTH)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="og-conversion-") as folder:
        for source in conversion_sources.SOURCES:
            if not only or source.name in only:
                console.print(f"{source.name} ...")
                rows.append(_measure(source, Path(folder), rounds))
    console.print(_table(rows))
    if json_path is not None:
        report = {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": git_revision(),
            "machine": describe_machine(),
            "versions": installed_versions(),
            "rounds": rounds,
            "rows": rows,
        }
        json_path.write_text(json.dumps(report, indent=2, default=str) + "\n")
    sys.exit(0 if rows else 1)


def _measure(source: ConversionSource, folder: Path, rounds: int) -> dict[str, Any]:
    place = folder / source.name
    place.mkdir()
    path = place / source.file
    _run_python(source.build, path)
    own, ours = [], []
    converted: Converted | None = None
    for number in range(rounds):
        own.append(_timed(lambda: _run_python(source.export, path, place / "exported.onnx")))
        work = place / f"work-{number}"
        work.mkdir()
        converted, seconds = _convert(path, work)
        ours.append(seconds)
    assert converted is not None
    exporter_s, onegate_s = statistics.median(own), statistics.median(ours)
    return {
        "name": source.name,
        "exporter": source.exporter,
        "exporter_s": round(exporter_s, 2),
        "onegate_s": round(onegate_s, 2),
        "ratio": round(statistics.median(mine / theirs for mine, theirs in zip(ours, own, strict=True)), 2),
        "runtime": converted.runtime,
        "within": onegate_s <= max(MOST_TIMES * exporter_s, exporter_s + MOST_MORE_S),
    }


def _convert(path: Path, work: Path) -> tuple[Converted, float]:
    converter = detect(path)
    request = ConversionRequest(
        framework=converter.framework, source=str(path), workdir=str(work), options=ConversionOptions()
    )
    start = time.monotonic()
    converted = run_in_sandbox(request)
    return converted, time.monotonic() - start


def _timed(call: Callable[[], None]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


def _run_python(code: str, *arguments: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=conversion_sources.ENVIRONMENT,
    )
    if done.returncode:
        raise click.ClickException(f"the exporter's script failed: {done.stderr.strip().splitlines()[-1:]}")


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("SOURCE", "EXPORTER", "EXPORTER S", "ONEGATE S", "RATIO", "SERVED BY", "WITHIN 3 TIMES OR +5 S"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row["name"],
            row["exporter"],
            f"{row['exporter_s']:.2f}",
            f"{row['onegate_s']:.2f}",
            f"{row['ratio']:.2f}",
            row["runtime"],
            "yes" if row["within"] else "no",
        )
    return table


if __name__ == "__main__":
    command()
