"""`python -m benchmarks.counting`: what the counting of metrics costs, inline, at 64 connections.

One process has the same gateway twice, on one loop: with counting, and with everything left out that `GET /metrics`
needs: records of requests, histograms, and batches. Rounds alternate between the two, which begins alternates too, and
ratios are taken within a round: what else the machine does meets both. On a machine that is busy with other things that
is not enough, so the same calls are made without sockets too, in slices of some milliseconds of one thread's time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import click
import psutil
import uvloop

from benchmarks.client import Body
from benchmarks.machine import describe_machine
from benchmarks.models import BenchmarkModel, build_mlp
from benchmarks.request_costs import CONNECTIONS, measure
from converters.base import ConversionOptions
from converters.publish import convert_and_publish
from model_store.manifest import Manifest
from model_store.store import Store
from serve.dialects.base import HttpRequest
from serve.dialects.registry import http_dialects
from serve.dispatcher import Dispatcher
from serve.executors.inline import build_inline_executor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.garbage import collect_rarely
from serve.lanes import LoadedVersion
from serve.metrics.buckets import Durations
from serve.metrics.requests import RequestCounter
from serve.metrics.tally import Tally
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, ServeOptions, VersionEntry
from serve.runtimes.base import load_runtime
from serve.statistics import VersionStatistics

BODY_BYTES = 1 << 20
PATH = "/v2/models/mlp/infer"
CALLS = 512
"""In a slice."""
SLICES = 300


class Uncounted(VersionStatistics):
    """Counts no batch."""

    def count_batch(self, rows: int, ns: int, limit: int = 1, *, used: bool = True) -> None:
        """Nothing."""


class NoDurations(Durations):
    """Counts nothing."""

    def add(self, ns: int) -> None:
        """Nothing."""


def serve(folder: Path, manifest: Manifest, ready: Connection) -> None:
    """The process of both gateways; tells `ready` their ports."""

    async def listen() -> None:
        doors = [_door(folder, manifest, counting=counting) for counting in (False, True)]
        ready.send([HttpListener(door, "127.0.0.1", 0).start() for door in doors])
        collect_rarely()
        await asyncio.Event().wait()

    uvloop.run(listen())


def _door(folder: Path, manifest: Manifest, *, counting: bool) -> HttpFrontDoor:
    entry = VersionEntry(manifest, ServeOptions("inline"))
    table = RoutingTable(1, "", (entry,), {manifest.name: ModelRoute(((manifest.version, 100),))})
    dispatcher = Dispatcher(Router(table))
    executor = build_inline_executor(load_runtime(folder, manifest, threads=1), manifest, 64)
    counter = RequestCounter() if counting else None
    counted = dispatcher.statistics_of(entry.key) if counting else Uncounted(manifest.name, "1", queue=NoDurations())
    dispatcher.loaded[entry.key] = LoadedVersion(entry, executor, counted)
    if counter is not None:
        asyncio.get_running_loop().create_task(_report(Tally(dispatcher.counted, dispatcher.loaded, counter.refusals)))
    return HttpFrontDoor(http_dialects("torchserve"), dispatcher.answer, BODY_BYTES, recorder=counter)


async def _report(tally: Tally) -> None:
    """As heartbeats do, without sending it."""
    while True:
        await asyncio.sleep(1)
        tally.report()
        tally.arrived()


async def time_calls(folder: Path, manifest: Manifest, body: Body) -> tuple[float, float]:
    """Nanoseconds of a call without sockets, without and with counting: medians of slices, of its thread alone."""
    doors = [_door(folder, manifest, counting=counting) for counting in (False, True)]
    headers = {name.lower(): value for name, value in body.headers.items()}

    async def slice_of(door: HttpFrontDoor) -> float:
        begin = time.thread_time_ns()
        for _ in range(CALLS // CONNECTIONS):
            calls = [
                HttpRequest("POST", PATH, body.content, headers.get, received_ns=time.perf_counter_ns())
                for _ in range(CONNECTIONS)
            ]
            await asyncio.gather(*map(door.answer, calls))
        return (time.thread_time_ns() - begin) / CALLS

    for door in doors:
        await slice_of(door)
    collect_rarely()
    found = [[await slice_of(door) for door in doors] for _ in range(SLICES)]
    without, counting = (statistics.median(values) for values in zip(*found, strict=True))
    return without, counting


def publish(folder: Path, model: BenchmarkModel) -> Manifest:
    """The model as a version, its files in `folder`."""
    store = Store.open(str(folder / "store"))
    manifest = convert_and_publish(store, "mlp", model.path, ConversionOptions()).manifest
    store.checkout(manifest, folder / "version")
    return manifest


@click.command()
@click.option("--rounds", default=20, show_default=True)
@click.option("--seconds", default=2, show_default=True, help="Of each measurement.")
def main(rounds: int, seconds: int) -> None:
    """Prints medians over the rounds."""
    click.echo(describe_machine())
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with tempfile.TemporaryDirectory(prefix="bench-counting-") as name:
        folder = Path(name)
        model = build_mlp(folder)
        manifest = publish(folder, model)
        child = context.Process(target=serve, args=(folder / "version", manifest, there), daemon=True)
        child.start()
        urls = [f"http://127.0.0.1:{port}{PATH}" for port in here.recv()]
        server = psutil.Process(child.pid)
        for url in urls:
            measure(url, model.body, 1, server)
        found = [_round(number, urls, model.body, seconds, server) for number in range(rounds)]
        child.terminate()
        calls_ns = uvloop.run(time_calls(folder / "version", manifest, model.body))
    without, with_counting = ([each[side] for each in found] for side in (0, 1))
    for name, place in (("requests/s", 0), ("us of processor time for a request", 1)):
        medians = [statistics.median(each[place] for each in side) for side in (without, with_counting)]
        ratios = sorted(b[place] / a[place] for a, b in found)
        quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        click.echo(
            f"{name}: {medians[0]:.1f} -> {medians[1]:.1f}, ratio {statistics.median(ratios):.3f} "
            f"(middle half {quarters[0]:.3f} to {quarters[2]:.3f}, {rounds} rounds of {seconds} s)"
        )
    more_ns = calls_ns[1] - calls_ns[0]
    click.echo(
        f"without sockets: {calls_ns[0]:.0f} -> {calls_ns[1]:.0f} ns for a request, {more_ns:.0f} more, "
        f"{more_ns / 10 / statistics.median(each[1] for each in without):.1f} % of what one with sockets takes"
    )


Measured = tuple[float, float]


def _round(number: int, urls: list[str], body: Body, seconds: int, server: psutil.Process) -> tuple[Measured, Measured]:
    """Without and with counting."""
    order = (0, 1) if number % 2 else (1, 0)
    measured = {side: measure(urls[side], body, seconds, server) for side in order}
    time.sleep(0.1)
    return measured[0], measured[1]


if __name__ == "__main__":
    main()
