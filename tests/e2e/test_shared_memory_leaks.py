"""Kill -9 while large tensors are under way in shared memory: nobody goes on holding what belonged to the dead, and
nobody anything once there is nothing to do."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

import aiohttp
import numpy as np
import psutil

from serve.shared_memory import IDLE_S
from tests.e2e.load import BackgroundLoad
from tests.e2e.models import binary_body, write_multiplier
from tests.e2e.running import Running, running

WIDTH = 2_621_440
"""float32 values of a row: 10 MiB, for which a region of 16 MiB is taken."""
REGION_BYTES = 16 * 2**20
CLIENTS = 4
AT_ONCE = 2
"""Batches that a gateway sends to one replica at once (`serve/executors/replicas.py`), each of one row here."""
MOST_REGIONS = CLIENTS + AT_ONCE + CLIENTS
"""Bodies, answers of these batches, and answers that are yet to be written to their clients."""
WAIT_S = 30.0


class LargeLoad(BackgroundLoad):
    """`CLIENTS` clients that send rows of 10 MiB one after the other, for `WAIT_S` times four at the most.

    Of an answer the first and the last value are kept.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._body, self._headers = binary_body(np.full((1, WIDTH), 1.5, np.float32))
        super().__init__()
        self.answers: Counter[tuple[float, float]] = Counter()
        self.refusals: list[str] = []
        """Answers other than 200."""
        self.cut: list[str] = []
        """Connections that ended without an answer, or were not taken."""

    def wait_for_answers(self, more: int) -> None:
        """Returns when `more` answers have come from now on."""
        wanted, end = self.answers.total() + more, time.monotonic() + WAIT_S
        while self.answers.total() < wanted:
            assert time.monotonic() < end, (self.answers, self.refusals, self.cut[-3:])
            time.sleep(0.05)

    async def _run(self) -> None:
        end = time.monotonic() + 4 * WAIT_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(WAIT_S)) as session:

            async def client() -> None:
                while not self._ending.is_set() and time.monotonic() < end:
                    await self._send(session)

            await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def _send(self, session: aiohttp.ClientSession) -> None:
        body = io.BytesIO(self._body)  # of so many plain bytes aiohttp warns
        try:
            async with session.post(self._url, data=body, headers=self._headers) as reply:
                content = await reply.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.cut.append(repr(error))
            await asyncio.sleep(0.2)
            return
        if reply.status != 200:
            self.refusals.append(f"{reply.status}: {content[:200]!r}")
            return
        y = np.frombuffer(content[int(reply.headers["inference-header-content-length"]) :], np.float32)
        self.answers[float(y[0]), float(y[-1])] += 1


def regions_of(process: psutil.Process) -> dict[int, int]:
    """Inode -> size in bytes of the gateways' regions that a process maps or has open."""
    place = Path("/proc", str(process.pid))
    found = {}
    try:
        for line in (place / "maps").read_text().splitlines():
            if mapped := re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+) +/memfd:onegate-region", line):
                found[int(mapped[3])] = int(mapped[2], 16) - int(mapped[1], 16)
        for descriptor in (place / "fd").iterdir():
            if os.readlink(descriptor).startswith("/memfd:onegate-region"):
                status = descriptor.stat()
                found[status.st_ino] = status.st_size
    except OSError:
        return found  # it has ended, or closed what was looked at
    return found


def shared_bytes(gateway: Running) -> int:
    """Shared memory of all processes of the gateway, pages that several map counted once."""
    total = 0
    for process in gateway.processes():
        try:
            rollup = Path("/proc", str(process.pid), "smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(1024 * int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss_Shmem:"))
    return total


def beside_regions(gateway: Running) -> int:
    """Shared memory that is in no region of the live gateway's, in bytes."""
    [owner] = gateway.serve_processes("onegate", "Gateway")
    return shared_bytes(gateway) - sum(regions_of(owner).values())


def check_only_owned(gateway: Running) -> None:
    """No process holds a region but the live gateway's own, of which there are no more than can be in use."""
    [owner] = gateway.serve_processes("onegate", "Gateway")
    owned = regions_of(owner)
    assert set(owned.values()) == {REGION_BYTES}
    assert len(owned) <= MOST_REGIONS
    held = {process: regions_of(process).keys() for process in gateway.processes()}
    # Calls go on: some may have been made meanwhile, and none lives shorter than `IDLE_S`.
    owned |= regions_of(owner)
    for process, regions in held.items():
        strangers = regions - owned.keys()
        assert not strangers, f"{process.cmdline()[:1]} holds regions of the dead: {strangers}"


def check_nothing_is_kept(gateway: Running) -> None:
    """All regions are let go, by gateway and replica, within twice the time after which one is idle."""
    end = time.monotonic() + 2 * IDLE_S + 10
    while any(regions_of(process) for process in gateway.processes()):
        assert time.monotonic() < end, [regions_of(process) for process in gateway.processes()]
        time.sleep(0.5)


def kill(gateway: Running, application: str, deployment: str) -> None:
    [victim] = gateway.serve_processes(application, deployment)
    victim.send_signal(signal.SIGKILL)
    victim.wait(10)


def test_kill_9_of_replica_and_gateway_leaves_no_shared_memory_behind(tmp_path: Path) -> None:
    write_multiplier(tmp_path / "doubler.onnx", 2, WIDTH)
    serve = {"executor": "replicas", "replicas": 1, "batching": {"max_batch_size": 1}}
    config = {"store": "store", "models": [{"name": "doubler", "source": "doubler.onnx", "serve": serve}]}
    with running(tmp_path, config) as gateway:
        gateway.wait_until_settled()
        url = f"{gateway.url}/v2/models/doubler/infer"
        with LargeLoad(url) as load:
            load.wait_for_answers(3 * CLIENTS)
            check_only_owned(gateway)
            before = beside_regions(gateway)

            kill(gateway, "doubler-v1", "Model")
            load.wait_for_answers(3 * CLIENTS)
            check_only_owned(gateway)
            # Every request waited for the next replica.
            assert (load.refusals, load.cut) == ([], [])

            kill(gateway, "onegate", "Gateway")
            load.wait_for_answers(3 * CLIENTS)
            check_only_owned(gateway)
        assert load.refusals == []
        assert set(load.answers) == {(3.0, 3.0)}
        assert beside_regions(gateway) < before + REGION_BYTES
        check_nothing_is_kept(gateway)
