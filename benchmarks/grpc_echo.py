"""`python -m benchmarks.grpc_echo`: how near does onegate over gRPC come to a grpc.aio server that does nothing?

A bare echo, onegate inline and, where it is installed, Triton's python backend, in interleaved rounds; then a profile
of the gateway's loop under the same load. README.md says how to read it.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.bare import BareOnnx
from benchmarks.failure import BenchmarkFailed
from benchmarks.grpc_load import ask, request, require_h2load, run_calls
from benchmarks.loop_profile import Profile, find_sampler, profile_loop
from benchmarks.machine import Machine, describe_machine, git_revision
from benchmarks.many_models import GATEWAY
from benchmarks.peers.contestants import CONTESTANTS, Target
from benchmarks.peers.environments import REQUIREMENTS, environment
from benchmarks.peers.workloads import Workload, build_mlp_workload
from benchmarks.servers import Server, free_ports, running

ECHO, ONEGATE, TRITON = "bare echo", "onegate inline", "triton"
LEAST_OF_ECHO = 0.8
"""The project's bar."""
START_S = 60.0
TOLERANCE = 1e-5
CLIENT_BOUND = 0.8
"""A client that takes more of a core than this may be what is measured."""
SHOWN = 14
"""Lines of a profile."""


@dataclass(frozen=True)
class Contestant:
    """A running server, and the one message that it is sent."""

    name: str
    server: Server
    address: str
    message: bytes


class Sample(msgspec.Struct, frozen=True):
    """One measurement of one contestant."""

    round: int
    contestant: str
    calls_per_s: float
    cpu_us: float
    """Processor time of all its processes, a call."""
    client_cores: float


class Result(msgspec.Struct, frozen=True):
    """A whole run. `absent` says of those that do not take part why; `profile` is None without py-spy."""

    machine: Machine
    revision: str | None
    in_flight: int
    samples: tuple[Sample, ...]
    absent: dict[str, str]
    profile: Profile | None

    def ratio(self, of: str) -> float | None:
        """onegate's calls/s over those of `of`, the median over the rounds."""
        rates = {(each.round, each.contestant): each.calls_per_s for each in self.samples}
        rounds = sorted({each.round for each in self.samples})
        ratios = [rates[n, ONEGATE] / rates[n, of] for n in rounds if (n, of) in rates]
        return statistics.median(ratios) if ratios else None


@contextmanager
def echo(folder: Path, row: np.ndarray) -> Iterator[Contestant]:
    """`grpc_echo_server.py`, which takes any model's request."""
    port = free_ports(1)[0]
    address, message = f"127.0.0.1:{port}", request("echo", row)
    settings = {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [sys.executable, "-m", "benchmarks.grpc_echo_server", str(port)]
    with running("echo", command, folder, settings) as server:
        ask(address, message)  # waits until it listens
        yield Contestant(ECHO, server, address, message)


def peer(stack: ExitStack, name: str, wanted: str, workload: Workload, folder: Path) -> Contestant:
    """The target `wanted` of a contestant of `benchmarks/peers`; raises `BenchmarkFailed` when it can't take part."""
    installed = environment(name) if name in REQUIREMENTS else None
    if installed is not None and installed.python is None:
        raise BenchmarkFailed(f"not installed: {installed.reason}")
    place = folder / name
    place.mkdir()
    server, targets = stack.enter_context(CONTESTANTS[name](workload, place, installed))
    target: Target = next(each for each in targets if each.contestant == wanted)
    assert target.grpc is not None
    message = request(target.paths[0].split("/")[3], workload.model.row)
    _check(wanted, np.frombuffer(ask(target.grpc, message).raw_output_contents[0], np.float32), workload)
    return Contestant(wanted, server, target.grpc, message)


def _check(name: str, got: np.ndarray, workload: Workload) -> None:
    expected = BareOnnx(workload.model.path, workload.threads).run(workload.model.row).ravel()
    if got.shape != expected.shape or not np.allclose(got, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max()):
        raise BenchmarkFailed(f"{name} answers {got}, bare ONNX Runtime {expected}")


def measure(contestants: Sequence[Contestant], rounds: int, seconds: int, in_flight: int) -> Iterator[Sample]:
    """Each once a round; round 0 warms up and is thrown away. Raises `BenchmarkFailed`."""
    for number in range(rounds + 1):
        for each in contestants:
            before = each.server.cpu_s()
            calls = run_calls(each.address, each.message, in_flight=in_flight, duration_s=seconds)
            # The processor time is that of h2load's warm-up too.
            cpu_us = 1e6 * (each.server.cpu_s() - before) / (calls.calls_per_s * (seconds + 1))
            if number:
                yield Sample(number, each.name, calls.calls_per_s, cpu_us, calls.client_cores)


def profile_under_load(sampler: str, contestant: Contestant, seconds: int, in_flight: int) -> Profile:
    """The gateway's loop, while calls are under way for longer than it is looked at."""
    arguments = (contestant.address, contestant.message)
    load = Thread(target=run_calls, args=arguments, kwargs={"in_flight": in_flight, "duration_s": seconds + 4})
    load.start()
    try:
        return profile_loop(sampler, contestant.server.member(GATEWAY).pid, seconds)
    finally:
        load.join()


def run(rounds: int, seconds: int, in_flight: int) -> Result:
    """Raises `BenchmarkFailed` when the echo or onegate does not start, or a call fails."""
    machine, absent, profile = describe_machine(), {}, None
    with tempfile.TemporaryDirectory(prefix="og-") as name, ExitStack() as stack:
        folder = Path(name)
        workload = build_mlp_workload(folder)
        contestants = [stack.enter_context(echo(folder, workload.model.row))]
        contestants.append(peer(stack, "onegate", ONEGATE, workload, folder))
        try:
            contestants.append(peer(stack, "triton", TRITON, workload, folder))
        except (BenchmarkFailed, OSError, StopIteration) as error:
            absent[TRITON] = str(error)
        samples = tuple(measure(contestants, rounds, seconds, in_flight))
        if (sampler := find_sampler()) is not None:
            profile = profile_under_load(sampler, contestants[1], 2 * seconds, in_flight)
    return Result(machine, git_revision(), in_flight, samples, absent, profile)


def print_result(console: Console, result: Result) -> None:
    """Medians, the ratios, the profile."""
    table = Table(title=f"gRPC, MLP 16-32-4, {result.in_flight} calls in flight on one connection")
    for column in ("contestant", "calls/s", "least", "most", "CPU a call, µs", "client, cores", "onegate's of it"):
        table.add_column(column, justify="left" if column == "contestant" else "right")
    for name in dict.fromkeys(each.contestant for each in result.samples):
        own = [each for each in result.samples if each.contestant == name]
        rates = [each.calls_per_s for each in own]
        client = max(each.client_cores for each in own)
        cpu_us = statistics.median(each.cpu_us for each in own)
        figures = (f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}", f"{max(rates):,.0f}", f"{cpu_us:,.0f}")
        table.add_row(name, *figures, f"{client:.2f}", f"{result.ratio(name):.2f}")
        if client > CLIENT_BOUND:
            console.print(f"note: the client took {client:.2f} of a core against {name}", style="yellow")
    console.print(table)
    for name, reason in result.absent.items():
        console.print(f"{name} does not take part: {reason}", style="yellow", soft_wrap=True, markup=False)
    of_echo = result.ratio(ECHO) or 0.0
    console.print(
        f"of the bare echo: {of_echo:.2f}, at least {LEAST_OF_ECHO}: {'yes' if of_echo >= LEAST_OF_ECHO else 'no'}"
    )
    _print_profile(console, result.profile)


def _print_profile(console: Console, profile: Profile | None) -> None:
    if profile is None:
        console.print("no profile: py-spy is not installed here (pip install py-spy)", style="yellow")
        return
    table = Table(title=f"the gateway's loop, {profile.samples} samples")
    for column in ("module", "%", "function", "%"):
        table.add_column(column, justify="right" if column == "%" else "left")
    for (module, share), (function, part) in zip(profile.modules[:SHOWN], profile.functions[:SHOWN], strict=False):
        table.add_row(module, f"{share:.1f}", function, f"{part:.1f}")
    console.print(table)


@click.command()
@click.option("--rounds", type=click.IntRange(1, 50), default=7, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 60), default=4, show_default=True, help="Of each measurement.")
@click.option("--in-flight", type=click.IntRange(1, 1000), default=16, show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Where the result goes.")
def command(rounds: int, seconds: int, in_flight: int, json_path: Path | None) -> None:
    """Measure onegate inline over gRPC beside a bare grpc.aio echo and Triton.

    \b
    Example:
      python -m benchmarks.grpc_echo --rounds 1
    """
    require_h2load()
    result = run(rounds, seconds, in_flight)
    console = Console()
    print_result(console if console.is_terminal else Console(width=150), result)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1))


if __name__ == "__main__":
    command()
