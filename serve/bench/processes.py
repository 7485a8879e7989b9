"""The processes that make the load, and the server that does nothing; both end with the block that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import msgspec
import psutil

from model_store.errors import InternalError
from serve.bench.plan import Load, LoadPlan

START_S = 20.0
"""On top of what a plan takes: a process has to start first."""


class LoadProcesses:
    """Some load processes that share the connections of a plan."""

    def __init__(self, processes: list[subprocess.Popen[bytes]]) -> None:
        self._processes = processes

    def run(self, plan: LoadPlan) -> Load:
        """Runs the plan, its connections shared out; raises `InternalError` when a process gives no result."""
        shares = [plan.connections // len(self._processes)] * len(self._processes)
        for number in range(plan.connections % len(self._processes)):
            shares[number] += 1
        asked = [(each, share) for each, share in zip(self._processes, shares, strict=True) if share]
        for process, share in asked:
            line = msgspec.json.encode(msgspec.structs.replace(plan, connections=share)) + b"\n"
            _pipe(process.stdin).write(line)
            _pipe(process.stdin).flush()
        return _together([self._result(process, plan) for process, _ in asked])

    def _result(self, process: subprocess.Popen[bytes], plan: LoadPlan) -> Load:
        line = _pipe(process.stdout).readline()
        if not line:
            raise InternalError(f"a load process ended with {process.wait(START_S)}; its own words are above")
        return msgspec.json.decode(line, type=Load)


def _pipe(pipe: object) -> BinaryIO:
    return cast(BinaryIO, pipe)


def _together(loads: list[Load]) -> Load:
    errors: dict[int, int] = {}
    for load in loads:
        for status, count in load.errors.items():
            errors[status] = errors.get(status, 0) + count
    return Load(
        max(load.seconds for load in loads),
        b"".join(load.latencies_us for load in loads),
        errors,
        # Of the busiest: one that is at its limit limits the whole.
        max(load.cpu_s for load in loads),
        max(load.reply_bytes for load in loads),
        next((load.trouble for load in loads if load.trouble), ""),
    )


@contextmanager
def load_processes(count: int) -> Iterator[LoadProcesses]:
    """So many processes for the block."""
    started = [_start("serve.bench.load") for _ in range(count)]
    try:
        yield LoadProcesses(started)
    finally:
        _end(started)


@contextmanager
def echo_server(request_bytes: int, reply_bytes: int) -> Iterator[int]:
    """The port of a server that does nothing, for the block."""
    started = _start("serve.bench.echo", str(request_bytes), str(reply_bytes))
    try:
        line = _pipe(started.stdout).readline()
        if not line:
            raise InternalError("the server for the client's ceiling did not start; its own words are above")
        yield int(line)
    finally:
        _end([started])


def _start(module: str, *words: str) -> subprocess.Popen[bytes]:
    # Of this very package, wherever the command was typed: a user's folder may hold a `serve.py`.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        # Ctrl-C is for the command alone, which ends these.
        start_new_session=True,
    )


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Both kinds end when their standard input does; a load that is under way is killed."""
    for process in processes:
        _pipe(process.stdin).close()
    for process in processes:
        try:
            process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(START_S)
        _pipe(process.stdout).close()


class MachineLoad:
    """How busy this machine's CPUs are between two moments, in percent of all."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()
        self._since = time.perf_counter()

    def percent(self) -> float:
        """Since this was made."""
        now = psutil.cpu_times()
        busy = sum(_busy(now)) - sum(_busy(self._before))
        idle = (now.idle - self._before.idle) + getattr(now, "iowait", 0) - getattr(self._before, "iowait", 0)
        return 100 * busy / (busy + idle) if busy + idle > 0 else 0.0


def _busy(times: Any) -> tuple[float, ...]:
    return (times.user, times.system, getattr(times, "irq", 0.0), getattr(times, "softirq", 0.0))
