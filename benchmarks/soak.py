"""`python -m benchmarks.soak`: does anything fail or grow in two million requests?

One `onegate up` with the small net inline and on a replica. wrk keeps 64 connections busy with both in slices; a client
of its own checks answers, makes mistakes and leaves early meanwhile. README.md says how the memory is judged.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.bare import BareOnnx
from benchmarks.client import require_wrk, run_load
from benchmarks.contestants import Contestant, check_answer, onegate
from benchmarks.failure import BenchmarkFailed
from benchmarks.machine import Machine, describe_machine, git_revision
from benchmarks.models import BenchmarkModel, build_mlp
from benchmarks.servers import Server
from benchmarks.soak_client import SoakClient

CONNECTIONS = 64
BATCH = 64
PROCESSES = {
    "gateway": "ray::ServeReplica:onegate:Gateway",
    "replica": "ray::ServeReplica:replicas-v1:Model",
    "controller": "ray::ServeReplica:onegate-controller:Controller",
}
MOST_GROWTH = 1.03
"""Memory after any slice over that after the warm-up."""
SETTLE_S = 2.0
"""From the last request of a slice to the look at the memory."""
FOLDER_PREFIX = "og-"
"""Short: Ray's sockets lie below, and their paths may have 107 bytes."""


class Slice(msgspec.Struct, frozen=True):
    """A stretch of load and the memory (PSS) of each process after it. The first slice warms up."""

    requests: int
    """Of wrk; all were answered with a status below 400."""
    checked: int
    """Of the other client."""
    seconds: float
    memory_mib: dict[str, float]


class Result(msgspec.Struct, frozen=True):
    """A whole run. `calls` are those of the other client, by what they were."""

    machine: Machine
    revision: str | None
    slices: tuple[Slice, ...]
    calls: dict[str, int]
    failures: tuple[str, ...]

    @property
    def requests(self) -> int:
        """All that were sent, the warm-up among them."""
        return sum(each.requests + each.checked for each in self.slices)

    def growth(self, process: str) -> float:
        """The most memory after a slice, over that after the warm-up."""
        before, *after = [each.memory_mib[process] for each in self.slices]
        return max(after) / before

    @property
    def passed(self) -> bool:
        """Whether nothing failed and nothing grew."""
        return not self.failures and all(self.growth(process) <= MOST_GROWTH for process in PROCESSES)


class Soak:
    """A running gateway with the models `inline` and `replicas`."""

    def __init__(self, server: Server, contestants: list[Contestant], model: BenchmarkModel, bare: BareOnnx) -> None:
        self._processes = {name: server.member(title) for name, title in PROCESSES.items()}
        self._urls = {contestant.name: contestant.url for contestant in contestants}
        self._model = model
        self._bare = bare
        self.calls: Counter[str] = Counter()
        self.failures: list[str] = []

    def slice(self, seconds: int) -> Slice:
        """`seconds` of load. A failure of wrk's raises `BenchmarkFailed`; the other client's are noted."""
        url, *_ = self._urls.values()
        paths = ["/" + each.split("/", 3)[3] for each in self._urls.values()]
        with SoakClient(self._urls, self._model, self._bare) as client:
            load = run_load(url, self._model.body, connections=CONNECTIONS, duration_s=seconds, paths=paths)
        self.calls += client.calls
        self.failures += client.failures
        time.sleep(SETTLE_S)
        return Slice(load.requests, client.calls.total(), load.duration_us / 1e6, self._memory_mib())

    def _memory_mib(self) -> dict[str, float]:
        try:
            return {name: process.memory_full_info().pss / 2**20 for name, process in self._processes.items()}
        except psutil.NoSuchProcess as error:
            raise BenchmarkFailed(f"a process of the gateway has ended: {error}; see its log") from error


def print_slice(console: Console, number: int, done: int, each: Slice) -> None:
    """One line."""
    rate = each.requests / each.seconds
    memory = ", ".join(f"{name} {mib:.1f} MiB" for name, mib in each.memory_mib.items())
    console.print(f"slice {number}: {done:>9,} requests so far, {rate:,.0f}/s; {memory}", highlight=False)


def print_result(console: Console, result: Result) -> None:
    """What was sent, what failed, what grew."""
    table = Table(title=f"{result.requests:,} requests in {len(result.slices)} slices")
    for column in ("process", "after the warm-up, MiB", "most, MiB", "last, MiB", "growth", f"at most {MOST_GROWTH}"):
        table.add_column(column, justify="right" if column != "process" else "left")
    for process in PROCESSES:
        memory = [each.memory_mib[process] for each in result.slices]
        growth = result.growth(process)
        figures = (f"{memory[0]:.1f}", f"{max(memory[1:]):.1f}", f"{memory[-1]:.1f}", f"{growth:.3f}")
        table.add_row(process, *figures, "yes" if growth <= MOST_GROWTH else "no")
    console.print(table)
    console.print("beside the load: " + ", ".join(f"{count} {way}" for way, count in result.calls.items()))
    console.print(f"failed: {len(result.failures)}")
    for failure in result.failures[:10]:
        console.print(f"  {failure}", soft_wrap=True, markup=False)


def run(requests: int, seconds: int, console: Console) -> Result:
    """A slice to warm up, then slices until `requests` are through. Raises `BenchmarkFailed`."""
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as name:
        model = build_mlp(Path(name))
        bare = BareOnnx(model.path, 1)
        with onegate(Path(name), model, cpus=1, max_batch_size=BATCH) as (server, contestants):
            for contestant in contestants:
                check_answer(contestant, model, bare)
            soak = Soak(server, contestants, model, bare)
            slices: list[Slice] = []
            done = 0
            while done < requests or len(slices) < 2:
                slices.append(soak.slice(seconds))
                done += slices[-1].requests + slices[-1].checked
                print_slice(console, len(slices) - 1, done, slices[-1])
    return Result(machine, git_revision(), tuple(slices), dict(soak.calls), tuple(soak.failures))


@click.command()
@click.option("--requests", type=click.IntRange(1, 10_000_000), default=2_000_000, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 120), default=20, show_default=True, help="Of each slice.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Where the result goes.")
def command(requests: int, seconds: int, json_path: Path | None) -> None:
    """Load a gateway for long; exit status 1 when a request fails or memory grows.

    \b
    Example:
      python -m benchmarks.soak --requests 200000
    """
    require_wrk()
    console = Console()
    if not console.is_terminal:
        console = Console(width=130)
    result = run(requests, seconds, console)
    print_result(console, result)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))
    sys.exit(not result.passed)


if __name__ == "__main__":
    command()
