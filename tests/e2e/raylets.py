"""A Ray cluster of several nodes on this machine, each a raylet of its own with resources as told, real or not.

Run as a module it holds the cluster, in a process of its own as Ray leaves its marks on the one that starts it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import psutil

END_S = 60.0


class Raylets:
    """A running cluster. `environment` lets another process join it."""

    def __init__(self, folder: str) -> None:
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "RAY_DISABLE_MEMORY_MONITOR": "1",
            "TMPDIR": folder,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.raylets"],
            env=os.environ | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = ""
        self.pids: list[int] = []
        """Of the nodes' raylets, in order."""

    def add(self, described: dict[str, Any]) -> None:
        """A node joins; the first one is the head."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(described)}\n")
        self._process.stdin.flush()
        told = self._process.stdout.readline()
        assert told, "the node did not start"
        self.address, pid = json.loads(told)
        self.pids.append(pid)

    def replicas(self, application: str) -> dict[int, list[psutil.Process]]:
        """The processes of an application's replicas by the node's place in the list."""
        title = f"ray::ServeReplica:{application}:"
        found: dict[int, list[psutil.Process]] = {}
        for place, pid in enumerate(self.pids):
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(pid).children(recursive=True):
                    if " ".join(child.cmdline()).startswith(title):
                        found.setdefault(place, []).append(child)
        return found

    def kill(self, place: int) -> None:
        """Ends a node and all that runs on it, without a word to anybody; returns when it is gone, and with it the
        sockets on which it still was given connections."""
        raylet = psutil.Process(self.pids[place])
        processes = [raylet, *raylet.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        end = time.monotonic() + END_S
        while not all(map(_has_ended, processes)):
            assert time.monotonic() < end, processes
            time.sleep(0.01)

    def end(self) -> None:
        """Ends the cluster."""
        processes = psutil.Process(self._process.pid).children(recursive=True)
        for pid in self.pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                processes += psutil.Process(pid).children(recursive=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.communicate(timeout=END_S)
        for process in [*processes, psutil.Process(self._process.pid)] if self._process.poll() is None else processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)
        self._process.wait(10)


@contextlib.contextmanager
def raylets(*nodes: dict[str, Any]) -> Iterator[Raylets]:
    """A cluster for the block, its first node the head: `{"num_cpus": 2, "num_gpus": 4}`."""
    # Not pytest's own folder: the paths of Ray's sockets would be too long.
    folder = tempfile.mkdtemp(prefix="onegate-ray-")
    try:
        cluster = Raylets(folder)
        try:
            for described in nodes:
                cluster.add(described)
            yield cluster
        finally:
            cluster.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has_ended(process: psutil.Process) -> bool:
    """Whether it holds nothing any more. Nobody has to have waited for it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def main() -> None:
    """Starts a node for each line of its input and answers with a line; ends them all when the input ends."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for line in sys.stdin:
        node = cluster.add_node(include_dashboard=False, object_store_memory=80 * 2**20, **json.loads(line))
        print(json.dumps([cluster.address, node.all_processes["raylet"][0].process.pid]), flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
