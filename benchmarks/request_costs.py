"""What a request costs the process that answers it, under a steady load."""

from __future__ import annotations

import psutil

from benchmarks.client import Body, run_load

CONNECTIONS = 64


def measure(url: str, body: Body, seconds: int, server: psutil.Process) -> tuple[float, float]:
    """Requests/s, and microseconds of the server's processor time for each."""
    before = server.cpu_times()
    load = run_load(url, body, connections=CONNECTIONS, duration_s=seconds)
    after = server.cpu_times()
    cpu_s = after.user + after.system - before.user - before.system
    return load.requests / load.duration_us * 1e6, cpu_s / load.requests * 1e6
