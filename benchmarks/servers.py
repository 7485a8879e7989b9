"""Servers as processes of their own: started, watched, measured when idle, and ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.failure import BenchmarkFailed

POLL_S = 0.2
STOP_S = 60.0
"""A server gets this long to end by itself after SIGTERM."""
LAST_CHILDREN_S = 10.0
"""And what it started, after it has ended."""

FOREIGN_SETTINGS = ("RAY_", "ONEGATE_")
"""Settings of the caller's shell must not reach one contestant and not the other."""


class Server:
    """A running server and its descendants. They are noted while it runs: once it is dead nothing leads to them."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self._process = psutil.Process(process.pid)
        self._popen = process
        self._log = log
        self._family: set[psutil.Process] = {self._process}

    def wait_while(self, missing: Callable[[], str | None], limit_s: float) -> None:
        """Returns when `missing()` has nothing to name; raises `BenchmarkFailed` when the server ends before that, or
        the time is up."""
        ends = time.monotonic() + limit_s
        while (reason := missing()) is not None:
            self._note_family()
            if self._popen.poll() is not None:
                raise BenchmarkFailed(f"{self.name} ended with status {self._popen.returncode}: {self._last_words()}")
            if time.monotonic() > ends:
                words = self._last_words()
                raise BenchmarkFailed(f"{self.name} was not ready within {limit_s:g} s: {reason}; {words}")
            time.sleep(POLL_S)
        self._note_family()

    def cpu_s(self) -> float:
        """Processor seconds used so far by all processes of the server that run now."""
        self._note_family()
        total = 0.0
        for process in self._family:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory_mib(self) -> float:
        """Memory of all processes of the server, shared pages counted once among them (PSS)."""
        self._note_family()
        total = 0
        for process in self._family:
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total / 2**20

    def member(self, title: str) -> psutil.Process:
        """The one process of the server whose command line begins with `title`; raises `BenchmarkFailed` unless there
        is exactly one."""
        self._note_family()
        found = [process for process in self._family if _command_line(process).startswith(title)]
        if len(found) != 1:
            raise BenchmarkFailed(f"{self.name} has {len(found)} processes {title!r}, expected one")
        return found[0]

    def stop(self) -> None:
        """Ends the server, by force where it does not end in time, and whatever it leaves behind."""
        self._note_family()
        self.resume()
        try:
            if self._popen.poll() is None:
                self._popen.send_signal(signal.SIGTERM)
            self._popen.wait(STOP_S)
            psutil.wait_procs(self._family, timeout=LAST_CHILDREN_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)
            psutil.wait_procs(self._family, timeout=LAST_CHILDREN_S)
            self._popen.wait()

    def pause(self) -> None:
        """Stops all processes of the server as they are (SIGSTOP), so that what it does unasked is nobody's loss."""
        known = 0
        # Until none has started another one meanwhile.
        while known < len(self._family):
            known = len(self._family)
            self._signal(signal.SIGSTOP)
            self._note_family()

    def resume(self) -> None:
        """Lets them go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._family:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def _note_family(self) -> None:
        with contextlib.suppress(psutil.Error):
            self._family.update(self._process.children(recursive=True))

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").split("\n")
        return " / ".join(line.strip() for line in lines if line.strip())[-600:] or "it printed nothing"


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@contextmanager
def running(name: str, command: Sequence[str], folder: Path, settings: dict[str, str]) -> Iterator[Server]:
    """The server that `command` starts, until the end of the block. `folder` is its working and temporary folder,
    `settings` go into its environment."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN_SETTINGS)}
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environ, "TMPDIR": str(folder), **settings},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the benchmark, which ends its servers in order.
            start_new_session=True,
        )
    server = Server(name, process, log)
    try:
        yield server
    finally:
        server.stop()


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens on the loopback now, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def idle_cpu_percent(servers: Sequence[Server], duration_s: float) -> dict[str, float]:
    """Name -> share of the whole machine, in percent, that each server uses while nobody asks it."""
    before = {server.name: server.cpu_s() for server in servers}
    start = time.monotonic()
    time.sleep(duration_s)
    elapsed_s = (time.monotonic() - start) * (os.cpu_count() or 1)
    return {server.name: round(100 * (server.cpu_s() - before[server.name]) / elapsed_s, 2) for server in servers}
