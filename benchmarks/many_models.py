"""`python -m benchmarks.many_models`: what does a model cost that nobody calls, and does it slow the others down?

One `onegate up`, whose config names one model or a thousand in turn; all are the same small net, converted once and
published under every name. README.md says how to read the table.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.client import require_wrk, run_load
from benchmarks.contestants import START_S, console_script, not_ready
from benchmarks.failure import BenchmarkFailed
from benchmarks.machine import Machine, describe_machine, git_revision
from benchmarks.models import BenchmarkModel, build_mlp
from benchmarks.servers import Server, free_ports, running
from converters.base import ConversionOptions
from converters.publish import convert_and_publish
from model_store.store import Store

GATEWAY = "ray::ServeReplica:onegate:Gateway"
FOLDER_PREFIX = "og-"
"""Short: Ray's sockets lie below, and their paths may have 107 bytes."""
MOST_MIB = 1.0
MOST_P50_RATIO = 1.2
"""The project's bars: memory an idle model beyond its weights, p50 of one among many over p50 of one alone."""
SETTLE_S = 2.0


class Round(msgspec.Struct, frozen=True):
    """One model alone, then among all. Memory (PSS) and threads are those of the gateway's process."""

    alone_p50_ms: float
    alone_memory_mib: float
    among_p50_ms: float
    among_memory_mib: float
    threads: int
    load_s: float
    """From `onegate apply` until all models can be called."""


class Result(msgspec.Struct, frozen=True):
    """Memory an idle model is taken from the first round: what a round leaves behind is used again by the next."""

    machine: Machine
    revision: str | None
    models: int
    weights_kib: float
    rounds: tuple[Round, ...]

    @property
    def memory_mib(self) -> float:
        """An idle model's, without its weights."""
        first = self.rounds[0]
        return (first.among_memory_mib - first.alone_memory_mib) / (self.models - 1) - self.weights_kib / 1024

    @property
    def p50_ratio(self) -> float:
        """Median over the rounds."""
        return statistics.median(each.among_p50_ms / each.alone_p50_ms for each in self.rounds)


class Gateway:
    """`onegate up` with configs of the first so many models; every model is in the store."""

    def __init__(self, folder: Path, model: BenchmarkModel, ports: Sequence[int]) -> None:
        self._folder = folder
        self._model = model
        self._ports = dict(zip(("http_port", "grpc_port", "management_port"), ports, strict=True))
        self.management = f"http://127.0.0.1:{ports[2]}"

    def config(self, models: int) -> Path:
        """A file that names the first `models` models."""
        serve = {"executor": "inline", "cpus": 1}
        listed = [{"name": f"mlp{number}", "versions": [{"version": 1}], "serve": serve} for number in range(models)]
        path = self._folder / f"{models}.yaml"
        path.write_text(yaml.safe_dump({"store": "store", "gateway": self._ports, "models": listed}))
        return path

    def apply(self, models: int) -> float:
        """Seconds until exactly the first `models` models can be called."""
        begin = time.monotonic()
        command = [console_script(), "apply", str(self.config(models)), "--management", self.management]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, timeout=START_S, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise BenchmarkFailed(f"onegate apply of {models} models failed: {done.stderr.strip()[-300:]}")
        return time.monotonic() - begin

    def p50_ms(self, seconds: int) -> float:
        """Of the first model at one connection."""
        time.sleep(SETTLE_S)
        url = f"http://127.0.0.1:{self._ports['http_port']}/v2/models/mlp0/infer"
        return run_load(url, self._model.body, connections=1, duration_s=seconds).p50_us / 1000


def publish(folder: Path, models: int) -> tuple[BenchmarkModel, int]:
    """The net, and the bytes of its file; its version is in the store under `models` names afterwards."""
    model, store = build_mlp(folder), Store.open(str(folder / "store"))
    first = convert_and_publish(store, "mlp0", model.path, ConversionOptions()).manifest
    files = store.checkout(first, folder / "version")
    for number in range(1, models):
        copy = msgspec.structs.replace(first, name=f"mlp{number}", version=0)
        store.publish(copy, {name: files / name for name in first.files})
    return model, sum(entry.size for entry in first.files.values())


def measure_round(server: Server, gateway: Gateway, models: int, seconds: int) -> Round:
    """Raises `BenchmarkFailed` when a request or a start fails."""
    process = server.member(GATEWAY)
    gateway.apply(1)
    alone_p50_ms = gateway.p50_ms(seconds)
    alone_mib = process.memory_full_info().pss / 2**20
    load_s = gateway.apply(models)
    among_p50_ms = gateway.p50_ms(seconds)
    among_mib = process.memory_full_info().pss / 2**20
    return Round(alone_p50_ms, alone_mib, among_p50_ms, among_mib, process.num_threads(), load_s)


def print_result(console: Console, result: Result) -> None:
    """A row a round, and the bars."""
    table = Table(title=f"one model alone and among {result.models}, one connection")
    columns = (
        "round",
        "p50 alone, ms",
        "p50 among, ms",
        "ratio",
        "PSS alone, MiB",
        "PSS among, MiB",
        "threads",
        "load, s",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for number, each in enumerate(result.rounds, 1):
        ratio = each.among_p50_ms / each.alone_p50_ms
        latency = (f"{each.alone_p50_ms:.3f}", f"{each.among_p50_ms:.3f}", f"{ratio:.2f}")
        memory = (f"{each.alone_memory_mib:.1f}", f"{each.among_memory_mib:.1f}")
        table.add_row(str(number), *latency, *memory, str(each.threads), f"{each.load_s:.1f}")
    console.print(table)
    for what, got, most in (
        ("memory of an idle model beyond its weights, MiB", result.memory_mib, MOST_MIB),
        ("p50 among all over p50 alone", result.p50_ratio, MOST_P50_RATIO),
    ):
        console.print(f"{what}: {got:.3f}, at most {most}: {'yes' if got <= most else 'no'}")


@click.command()
@click.option("--models", type=click.IntRange(2, 5000), default=1000, show_default=True)
@click.option("--rounds", type=click.IntRange(1, 50), default=5, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 60), default=5, show_default=True, help="Of each measurement.")
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Where the result goes.")
def command(models: int, rounds: int, seconds: int, json_path: Path | None) -> None:
    """Measure memory and latency of a gateway with one model and with many.

    \b
    Example:
      python -m benchmarks.many_models --models 200 --rounds 1
    """
    require_wrk()
    machine = describe_machine()
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as name:
        folder = Path(name)
        model, weights_bytes = publish(folder, models)
        gateway = Gateway(folder, model, free_ports(3))
        with running("onegate", [console_script(), "up", str(gateway.config(1))], folder, {}) as server:
            server.wait_while(lambda: not_ready(gateway.management, 1), START_S)
            gateway.p50_ms(seconds)  # warms up
            measured = tuple(measure_round(server, gateway, models, seconds) for _ in range(rounds))
    result = Result(machine, git_revision(), models, weights_bytes / 1024, measured)
    print_result(Console(width=130), result)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))


if __name__ == "__main__":
    command()
