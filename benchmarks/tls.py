"""`python -m benchmarks.tls`: what TLS costs on the HTTP port, beside the same port without it.

Both listeners live in one process and answer with the body that they got: a model would only hide the difference.
Rounds alternate between them; ratios are taken within a round.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
import subprocess
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import click
import psutil
import uvloop

from benchmarks.client import Body
from benchmarks.machine import describe_machine
from benchmarks.request_costs import measure
from serve.dialects.base import HttpReply, HttpRequest, own_error
from serve.errors import presentable
from serve.front_doors.http_listener import HttpListener
from serve.front_doors.tls import HTTP, Tls
from serve.in_place import InPlace, InPlaceBytes
from serve.tls_files import ServerFiles

LOADS = {
    "300 bytes": Body(bytes(300), {}),
    "1 MiB": Body(bytes(1 << 20), {}),
    "300 bytes, each on a new connection": Body(bytes(300), {"connection": "close"}),
}


class Echo:
    """The application of both ports."""

    def admit(self, request: HttpRequest, under_way: int) -> int:
        """Anything."""
        return 1 << 30

    def room(self, request: HttpRequest, length: int) -> InPlace:
        """As `bytes`."""
        return InPlaceBytes(length)

    async def answer(self, request: HttpRequest) -> HttpReply:
        """The body."""
        return HttpReply(200, request.body)

    def refuse(self, request: HttpRequest, error: Exception) -> HttpReply:
        """Not expected."""
        return own_error(presentable(error))


def serve(folder: Path, ready: Connection) -> None:
    """The process of both listeners; tells `ready` their ports."""

    async def listen() -> None:
        tls = Tls(ServerFiles("tls", str(folder / "cert.pem"), str(folder / "key.pem")), HTTP)
        ready.send([HttpListener(Echo(), "127.0.0.1", 0, tls=each).start() for each in (None, tls)])
        await asyncio.Event().wait()

    uvloop.run(listen())


def make_certificate(folder: Path) -> None:
    """One with a key of P-256, as an authority would give."""
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    command = ["openssl", *words.split(), "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(command, check=True, capture_output=True)


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=3, show_default=True, help="Of each measurement.")
def main(rounds: int, seconds: int) -> None:
    """Prints medians over the rounds."""
    click.echo(describe_machine())
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with tempfile.TemporaryDirectory(prefix="bench-tls-") as folder:
        make_certificate(Path(folder))
        child = context.Process(target=serve, args=(Path(folder), there), daemon=True)
        child.start()
        ports = here.recv()
        urls = [f"{scheme}://127.0.0.1:{port}/" for scheme, port in zip(("http", "https"), ports, strict=True)]
        server = psutil.Process(child.pid)
        for name, body in LOADS.items():
            measured = [[measure(url, body, seconds, server) for url in urls] for _ in range(rounds)]
            plain, tls = (
                [statistics.median(values) for values in zip(*side, strict=True)]
                for side in zip(*measured, strict=True)
            )
            ratio = statistics.median(with_tls[0] / without[0] for without, with_tls in measured)
            click.echo(
                f"{name}: {plain[0]:.0f} -> {tls[0]:.0f} requests/s, ratio {ratio:.2f}; "
                f"processor time for a request {plain[1]:.0f} -> {tls[1]:.0f} us"
            )
        child.terminate()


if __name__ == "__main__":
    main()
