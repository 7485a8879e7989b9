"""`python -m benchmarks.peers`: the command."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console

from benchmarks.client import require_wrk
from benchmarks.machine import describe_machine, installed_versions
from benchmarks.peers.contestants import CONTESTANTS
from benchmarks.peers.environments import REQUIREMENTS
from benchmarks.peers.measuring import measure
from benchmarks.peers.report import Report, markdown, print_result, write_plots
from benchmarks.peers.workloads import WORKLOADS

RESULTS = Path(__file__).resolve().parent.parent / "results"
PAGE_WIDTH = 130


@click.command()
@click.option("--workload", "workloads", multiple=True, type=click.Choice(list(WORKLOADS)), help="Instead of all.")
@click.option("--only", "names", multiple=True, type=click.Choice(list(CONTESTANTS)), help="Instead of all.")
@click.option("--rounds", type=click.IntRange(1, 50), default=3, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 60), default=3, show_default=True, help="Of each measurement.")
@click.option("--plots", type=click.Path(path_type=Path, file_okay=False), help="Folder for a plot a workload.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Where the result goes.")
def command(
    workloads: tuple[str, ...],
    names: tuple[str, ...],
    rounds: int,
    seconds: int,
    plots: Path | None,
    json_path: Path | None,
) -> None:
    """Measure onegate beside its peers in interleaved rounds. All are started, and stand still (SIGSTOP) while another
    one is measured.

    \b
    Example:
      python -m benchmarks.peers --workload mlp --only onegate --only triton --rounds 1
    """
    require_wrk()
    started, begin = datetime.now(UTC), time.monotonic()
    console = Console()
    if not console.is_terminal:
        console = Console(width=PAGE_WIDTH)
    machine, results = describe_machine(), []
    for name in workloads or tuple(WORKLOADS):
        # Short: Ray's sockets lie below, and their paths may have 107 bytes.
        with tempfile.TemporaryDirectory(prefix="og-") as folder:
            workload = WORKLOADS[name](Path(folder))
            results.append(measure(workload, Path(folder), names or tuple(CONTESTANTS), rounds, seconds, console.print))
        print_result(console, results[-1])
    versions = installed_versions() | {peer: ", ".join(wanted) for peer, wanted in REQUIREMENTS.items()}
    report = Report(
        started.isoformat(timespec="seconds"),
        round(time.monotonic() - begin, 1),
        machine,
        versions,
        rounds,
        seconds,
        tuple(results),
    )
    path = json_path or RESULTS / f"peers-{started:%Y-%m-%d-%H%M}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    path.with_suffix(".md").write_text(markdown(report))
    console.print(f"written: {path}", soft_wrap=True)
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        for plot in write_plots(results, plots):
            console.print(f"written: {plot}", soft_wrap=True)


if __name__ == "__main__":
    command()
