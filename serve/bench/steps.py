"""Steps of a benchmark: more and more connections, until more of them bring nothing."""

from __future__ import annotations

import array
import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from model_store.errors import ModelNotReady
from serve.access.bearer import bearer
from serve.bench.plan import Load, LoadPlan
from serve.bench.processes import LoadProcesses, MachineLoad, echo_server
from serve.tls_files import ClientFiles, client_context

WARM_UP_S = 0.5
MOST_ERRORS = 0.01
"""Share of failed requests from which on a step is the last."""

FLAT = 1.03
"""Two steps that bring less than this over the best before are the last: the knee lies behind."""


class Step(msgspec.Struct, frozen=True):
    """One number of connections. `batch_rows`, `queue_ms` and `batch_ms` are the gateway's means, None where it tells
    nothing; `machine_percent` is of all CPUs of this machine, `client_percent` of the CPU of a load process."""

    connections: int
    requests: int
    requests_per_s: float
    rows_per_s: float
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    errors: dict[int, int]
    batch_rows: float | None
    queue_ms: float | None
    batch_ms: float | None
    machine_percent: float
    client_percent: float
    trouble: str = ""

    @property
    def failed_share(self) -> float:
        """Of all requests."""
        failed = sum(self.errors.values())
        return failed / (failed + self.requests) if failed else 0.0


def connection_counts(most: int) -> list[int]:
    """1, 2, 4 ... `most`."""
    counts = [1]
    while counts[-1] * 2 <= most:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] == most else [*counts, most]


def measure_steps(
    counts: Sequence[int],
    plan: LoadPlan,
    rows: int,
    processes: LoadProcesses,
    statistics: Statistics,
    progress: Callable[[str], None],
) -> Iterator[Step]:
    """A step for each of `counts`, until errors or a flat end of the curve make the rest useless."""
    best, flat = 0.0, 0
    for count in counts:
        progress(f"{count} connection{'s' if count > 1 else ''}")
        before, machine = statistics.read(), MachineLoad()
        load = processes.run(msgspec.structs.replace(plan, connections=count))
        step = _step(count, rows, load, machine.percent(), before, statistics.read())
        yield step
        flat = flat + 1 if step.requests_per_s < best * FLAT else 0
        best = max(best, step.requests_per_s)
        if step.failed_share > MOST_ERRORS or flat == 2:
            return


def _step(
    connections: int, rows: int, load: Load, machine_percent: float, before: Counted | None, after: Counted | None
) -> Step:
    latencies = sorted(array.array("I", load.latencies_us))
    means = _means(before, after)
    return Step(
        connections=connections,
        requests=len(latencies),
        requests_per_s=len(latencies) / load.seconds,
        rows_per_s=rows * len(latencies) / load.seconds,
        p50_ms=_quantile_ms(latencies, 0.5),
        p90_ms=_quantile_ms(latencies, 0.9),
        p99_ms=_quantile_ms(latencies, 0.99),
        errors=load.errors,
        batch_rows=means[0],
        queue_ms=means[1],
        batch_ms=means[2],
        machine_percent=machine_percent,
        client_percent=100 * load.cpu_s / load.seconds,
        trouble=load.trouble,
    )


def _quantile_ms(ordered: Sequence[int], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000 if ordered else None


def _means(before: Counted | None, after: Counted | None) -> tuple[float | None, float | None, float | None]:
    if before is None or after is None:
        return None, None, None
    rows, batches, queued, queue_ns, infer_ns = (b - a for a, b in zip(before, after, strict=True))
    if batches <= 0 or rows <= 0:
        return None, None, None
    return rows / batches, queue_ns / queued / 1e6 if queued > 0 else None, infer_ns / batches / 1e6


Counted = tuple[int, int, int, int, int]
"""Rows, batches, requests that were queued and for how many ns, ns of all batches."""


class Statistics:
    """What one gateway has counted of a model: asked over one connection, so that it is always the same gateway.
    None where it tells nothing, as without the scope `view`."""

    def __init__(self, url: str, model: str, key: str | None, tls: ClientFiles) -> None:
        parts = urlsplit(url)
        self._path = f"/v2/models/{quote(model)}"
        self._headers = bearer(key)
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context: ssl.SSLContext = client_context(tls, "--client-certificate")
            self._connection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, context=context, timeout=10
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)

    def read(self) -> Counted | None:
        """Over all versions that the model has there."""
        document = self._get(f"{self._path}/stats")
        if document is None:
            return None
        totals = [0, 0, 0, 0, 0]
        for version in document.get("model_stats", ()):
            stats = version["inference_stats"]
            queue, infer = stats["queue"], stats["compute_infer"]
            counted = (version["inference_count"], version["execution_count"], queue["count"], queue["ns"], infer["ns"])
            totals = [total + each for total, each in zip(totals, counted, strict=True)]
        return (totals[0], totals[1], totals[2], totals[3], totals[4])

    def config(self) -> dict[str, Any]:
        """How the model is batched now, as Triton's `ModelConfig`; empty where that is not told."""
        return self._get(f"{self._path}/config") or {}

    def _get(self, path: str) -> dict[str, Any] | None:
        try:
            self._connection.request("GET", path, headers=self._headers)
            reply = self._connection.getresponse()
            content = reply.read()
            found: dict[str, Any] = json.loads(content) if reply.status == 200 else {}
            return found or None
        except (OSError, http.client.HTTPException, ValueError):
            self._connection.close()
            return None

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


def measure_ceiling(plan: LoadPlan, reply_bytes: int, processes: LoadProcesses) -> float:
    """Requests a second that these load processes get out of a server that does nothing, with requests and answers of
    the same sizes, without TLS."""
    with echo_server(len(plan.request), reply_bytes) as port:
        alone = msgspec.structs.replace(plan, host="127.0.0.1", port=port, tls=None, warm_up_s=0.2, seconds=1.0)
        load = processes.run(alone)
    if not load.latencies_us:
        raise ModelNotReady(f"the load processes can't reach a server on 127.0.0.1: {load.trouble or 'no answer'}")
    return len(array.array("I", load.latencies_us)) / load.seconds
