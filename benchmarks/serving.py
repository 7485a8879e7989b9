"""`python -m benchmarks.serving`: what does serving cost, beside bare ONNX Runtime and beside Ray Serve's tutorial?

The command line and the order of things. README.md says what is measured and how to read it.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from benchmarks.bare import BareOnnx
from benchmarks.client import require_wrk
from benchmarks.contestants import Contestant, check_answer, onegate, ray_serve
from benchmarks.machine import describe_machine, git_revision, installed_versions
from benchmarks.models import BenchmarkModel, build_mlp, build_resnet
from benchmarks.report import FORMAT, Part, Report, default_path, print_report, write_report
from benchmarks.rounds import Plan, measure, measure_alone
from benchmarks.servers import Server, idle_cpu_percent
from benchmarks.summary import summarise
from model_store.errors import OnegateError

PARTS = ("mlp", "conv")
BUILDERS = {"mlp": build_mlp, "conv": build_resnet}
THREADS = {"mlp": 1, "conv": 2}
BATCH = {"mlp": 64, "conv": 8}
"""`max_batch_size` of the served model."""
MANY = {"mlp": 64, "conv": 16}
"""Connections. Sixteen keep the conv net busy: batches run, one is ready behind, and the client has its turn."""
BATCHES = {"mlp": (1,), "conv": (1, 2, 4, 8)}
"""Of bare ONNX Runtime: the request's own first, then what the server can merge of `MANY`."""

FOLDER_PREFIX = "og-"
"""Short: Ray's sockets lie below, and their paths may have 107 bytes."""
PAGE_WIDTH = 130
"""Of the table where it is not printed to a terminal."""
SETTLE_S = 2.0
"""From the last request to the measurement of idle servers."""
MOST_IDLE_PERCENT = 3.0
"""Servers that use more than this of the machine unasked would disturb each other's measurements."""
QUIET_PERCENT = 10.0
"""A machine that is busier than this before the start gives numbers that mean little."""


@click.command()
@click.option("--only", type=click.Choice(PARTS), help="One model instead of both.")
@click.option(
    "--rounds", type=click.IntRange(1, 50), default=5, show_default=True, help="Everybody is measured once a round."
)
@click.option("--seconds", type=click.IntRange(1, 600), default=5, show_default=True, help="Of each measurement.")
@click.option("--quick", is_flag=True, help="One round of one second, and no result file without --json.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Where the result is written."
)
@click.option(
    "--ongoing",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="max_ongoing_requests of Ray Serve's deployments. With its own default, 5, it backs off under 64 connections.",
)
def command(only: str | None, rounds: int, seconds: int, quick: bool, json_path: Path | None, ongoing: int) -> None:
    """Measure bare ONNX Runtime, onegate inline, onegate replicas and Ray Serve as in its tutorial, interleaved.

    \b
    Example:
      python -m benchmarks.serving --only mlp --rounds 3 --json mlp.json
    """
    require_wrk()
    started, begin = datetime.now(UTC), time.monotonic()
    console = Console()
    if not console.is_terminal:
        console = Console(width=PAGE_WIDTH)
    machine = describe_machine()
    rounds, seconds = (1, 1) if quick else (rounds, seconds)
    parts = {name: _measure_part(name, rounds, seconds, ongoing) for name in PARTS if only in (None, name)}
    elapsed_s = round(time.monotonic() - begin, 1)
    report = Report(
        FORMAT, started.isoformat(timespec="seconds"), elapsed_s, machine, installed_versions(), git_revision(), parts
    )
    print_report(console, report)
    if machine.busy_percent > QUIET_PERCENT:
        console.print(
            f"note: other work used {machine.busy_percent:g} % of the machine before the start", style="yellow"
        )
    if json_path is not None or not quick:
        path = json_path or default_path(report, only)
        write_report(report, path)
        console.print(f"written: {path}", soft_wrap=True)


def _measure_part(name: str, rounds: int, seconds: int, ongoing: int) -> Part:
    plan = Plan(rounds, seconds, min(seconds, 3), many=MANY[name], batches=BATCHES[name])
    threads = THREADS[name]
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder, _progress(name) as progress:
        progress("bare ONNX Runtime alone")
        model = BUILDERS[name](Path(folder))
        bare = BareOnnx(model.path, threads)
        samples = [measure_alone(plan, model, bare, 0)]
        with ExitStack() as stack:
            servers, contestants = _start(stack, name, Path(folder), model, ongoing, progress)
            for contestant in contestants:
                check_answer(contestant, model, bare)
            samples += measure(plan, model, bare, contestants, progress)
            progress("the servers when idle")
            time.sleep(SETTLE_S)
            idle = idle_cpu_percent(servers, duration_s=max(3, seconds))
            progress("stopping the servers")
        progress("bare ONNX Runtime alone again")
        samples.append(measure_alone(plan, model, bare, plan.rounds + 1))
    return Part(model.title, threads, plan, idle, _notes(name, ongoing, idle), summarise(plan, samples), samples)


def _start(
    stack: ExitStack,
    name: str,
    folder: Path,
    model: BenchmarkModel,
    ongoing: int,
    progress: Callable[[str], None],
) -> tuple[list[Server], list[Contestant]]:
    """Everybody who takes part, up until `stack` ends."""
    progress("starting onegate")
    server, contestants = stack.enter_context(onegate(folder, model, cpus=THREADS[name], max_batch_size=BATCH[name]))
    if name != "mlp":
        return [server], contestants
    progress("starting Ray Serve")
    tutorial, contestant = stack.enter_context(ray_serve(folder, model, THREADS[name], ongoing))
    return [server, tutorial], [*contestants, contestant]


def _notes(name: str, ongoing: int, idle: dict[str, float]) -> list[str]:
    notes = [f"Ray Serve's deployments had max_ongoing_requests={ongoing}"] if name == "mlp" else []
    return notes + [
        f"{server} used {percent:g} % of the machine unasked while the others were measured"
        for server, percent in idle.items()
        if percent >= MOST_IDLE_PERCENT
    ]


@contextmanager
def _progress(name: str) -> Iterator[Callable[[str], None]]:
    """Says what is going on: in one line of a terminal, else line by line."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: click.echo(f"{name}: {text}", err=True)
        return
    with console.status(name) as status:
        yield lambda text: status.update(f"{name}: {text}")


def main() -> None:
    """Exit 0 when all was measured, 1 when something failed, 2 for wrong usage, 130 for Ctrl-C."""
    # SIGTERM ends servers and folders the same way as Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OnegateError as error:
        click.echo(f"benchmark: {error.message}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("benchmark: interrupted; all servers are stopped", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
