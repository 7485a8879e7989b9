"""`python -m benchmarks.observing`: what traces and the access log cost, inline, at 64 connections.

One process has the same gateway several times, on one loop: with neither, with traces of a hundredth of the requests,
and with the access log. A collector in a process of its own takes the traces. Rounds go through all of them, each
beginning with another, and ratios are taken within a round: what else the machine does meets all of them.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
import psutil
import uvloop

from benchmarks.counting import BODY_BYTES, publish
from benchmarks.machine import describe_machine
from benchmarks.models import build_mlp
from benchmarks.request_costs import measure
from model_store.manifest import Manifest
from serve.access_log import AccessLog
from serve.dialects.registry import http_dialects
from serve.dispatcher import Dispatcher
from serve.executors.inline import build_inline_executor
from serve.front_doors.http import HttpFrontDoor
from serve.front_doors.http_listener import HttpListener
from serve.garbage import collect_rarely
from serve.lanes import LoadedVersion
from serve.log_format import LogStyle
from serve.metrics.requests import RequestCounter
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, ServeOptions, VersionEntry
from serve.runtimes.base import load_runtime
from serve.tracing.exporting import Exporting
from serve.tracing.settings import TracingSettings
from serve.tracing.tracer import Tracer

ARMS = ("neither", "traces", "access log of text", "access log of JSON")
SAMPLE = 0.01


def collect(ready: Connection) -> None:
    """The collector's process; tells `ready` its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(f"http://127.0.0.1:{server.server_port}/v1/traces")
    server.serve_forever()


def serve(folder: Path, manifest: Manifest, collector: str, ready: Connection) -> None:
    """The process of all gateways; tells `ready` their ports."""

    async def listen() -> None:
        ready.send([_open(folder, manifest, arm, collector).start() for arm in ARMS])
        collect_rarely()
        await asyncio.Event().wait()

    uvloop.run(listen())


def _open(folder: Path, manifest: Manifest, arm: str, collector: str) -> HttpListener:
    entry = VersionEntry(manifest, ServeOptions("inline"))
    table = RoutingTable(1, "", (entry,), {manifest.name: ModelRoute(((manifest.version, 100),))})
    dispatcher = Dispatcher(Router(table))
    executor = build_inline_executor(load_runtime(folder, manifest, threads=1), manifest, 64)
    dispatcher.loaded[entry.key] = LoadedVersion(entry, executor, dispatcher.statistics_of(entry.key))
    counter, tracer, access_log = RequestCounter(), None, None
    if arm == "traces":
        tracer = Tracer(SAMPLE)
        counter.on_end = tracer.note
        Exporting(tracer, TracingSettings(collector, SAMPLE, None, {}, {"service.name": "onegate"})).start()
    elif arm.startswith("access log"):
        style = LogStyle("json" if arm.endswith("JSON") else "text")
        access_log = AccessLog(str(folder / arm), style, "gateway")
        access_log.start()
    door = HttpFrontDoor(
        http_dialects("torchserve"),
        dispatcher.answer,
        BODY_BYTES,
        recorder=counter,
        tracer=tracer,
        tells_ids=access_log is not None,
    )
    return HttpListener(door, "127.0.0.1", 0, access_log=access_log)


@click.command()
@click.option("--rounds", default=20, show_default=True)
@click.option("--seconds", default=2, show_default=True, help="Of each measurement.")
def main(rounds: int, seconds: int) -> None:
    """Prints medians over the rounds."""
    click.echo(describe_machine())
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    collector = context.Process(target=collect, args=(there,), daemon=True)
    collector.start()
    with tempfile.TemporaryDirectory(prefix="bench-observing-") as name:
        folder = Path(name)
        model = build_mlp(folder)
        manifest = publish(folder, model)
        gateways = context.Process(target=serve, args=(folder / "version", manifest, here.recv(), there), daemon=True)
        gateways.start()
        urls = [f"http://127.0.0.1:{port}/v2/models/mlp/infer" for port in here.recv()]
        server = psutil.Process(gateways.pid)
        for url in urls:
            measure(url, model.body, 1, server)
        found: list[dict[int, tuple[float, float]]] = []
        for number in range(rounds):
            order = [(number + place) % len(ARMS) for place in range(len(ARMS))]
            found.append({arm: measure(urls[arm], model.body, seconds, server) for arm in order})
        gateways.terminate()
        collector.terminate()
    for arm, title in enumerate(ARMS):
        told = []
        for what, place in (("requests/s", 0), ("us of processor time for a request", 1)):
            median = statistics.median(each[arm][place] for each in found)
            ratios = sorted(each[arm][place] / each[0][place] for each in found)
            told.append(f"{median:.1f} {what} (ratio {statistics.median(ratios):.3f})")
        click.echo(f"{title}: {', '.join(told)}")


if __name__ == "__main__":
    main()
