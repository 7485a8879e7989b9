"""The result as a table for the terminal, a Markdown page, and plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.peers.measuring import Cell, Result


class Report(msgspec.Struct, frozen=True):
    """A whole run."""

    started: str
    elapsed_s: float
    machine: Machine
    versions: dict[str, str]
    """Of onegate's environment, and what each peer was installed from."""
    rounds: int
    seconds: int
    results: tuple[Result, ...]


COLUMNS = (
    "contestant",
    "connections",
    "requests/s",
    "of onegate inline",
    "p50, ms",
    "p99, ms",
    "CPU, µs",
    "memory, MiB",
)


def print_result(console: Console, result: Result) -> None:
    """One workload."""
    table = Table(title=result.title)
    for number, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if number else "left")
    for row in _rows(result):
        table.add_row(*row)
    console.print(table)
    for name, reason in result.absent.items():
        console.print(f"{name}: {reason}", style="yellow", soft_wrap=True, markup=False)


def markdown(report: Report) -> str:
    """The tables as the page `docs/performance.md` has them."""
    return "\n".join(line for result in report.results for line in _section(result))


def _section(result: Result) -> Iterator[str]:
    yield f"### {result.title}\n"
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "| --- |" + " ---: |" * (len(COLUMNS) - 1)
    for row in _rows(result):
        yield "| " + " | ".join(row) + " |"
    yield ""
    for name, reason in result.absent.items():
        yield f"- {name} does not take part: {reason}."
    yield ""


def _rows(result: Result) -> Iterator[tuple[str, ...]]:
    inline = {cell.connections: cell for cell in result.cells if cell.contestant == "onegate inline"}
    for cell in sorted(result.cells, key=lambda cell: (cell.connections, -cell.requests_per_s)):
        base = inline.get(cell.connections)
        share = f"{cell.requests_per_s / base.requests_per_s:.2f}" if base else "-"
        rate = f"{cell.requests_per_s:,.0f}"
        latency = (f"{cell.p50_ms:.2f}", f"{cell.p99_ms:.2f}")
        yield (cell.contestant, str(cell.connections), rate, share, *latency, f"{cell.cpu_us:,.0f}", _memory(cell))


def _memory(cell: Cell) -> str:
    return f"{cell.memory_mib:,.0f}"


def write_plots(results: Sequence[Result], folder: Path) -> list[Path]:
    """One PNG a workload: requests/s and p99 over the connections."""
    import matplotlib  # only who draws needs it

    matplotlib.use("Agg")
    from matplotlib import pyplot

    paths = []
    for result in results:
        figure, (rate, latency) = pyplot.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
        for name in dict.fromkeys(cell.contestant for cell in result.cells):
            own = [cell for cell in result.cells if cell.contestant == name]
            x = [cell.connections for cell in own]
            rate.plot(x, [cell.requests_per_s for cell in own], marker="o", label=name)
            latency.plot(x, [cell.p99_ms for cell in own], marker="o", label=name)
        for axes, title in ((rate, "requests/s"), (latency, "p99, ms")):
            axes.set(xscale="log", yscale="log", xlabel="connections", title=f"{result.title}: {title}")
            axes.grid(visible=True, which="both", alpha=0.3)
            ticks = sorted({cell.connections for cell in result.cells})
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
        figure.legend(*rate.get_legend_handles_labels(), loc="outside right center", fontsize=8)
        path = folder / f"peers-{result.workload}.png"
        figure.savefig(path, dpi=110)
        pyplot.close(figure)
        paths.append(path)
    return paths
