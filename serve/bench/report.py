"""A whole benchmark of one served model."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from model_store.errors import ModelNotReady
from serve.bench.payload import Payload, made_up, of_file
from serve.bench.plan import LoadPlan
from serve.bench.processes import LoadProcesses, load_processes
from serve.bench.steps import WARM_UP_S, Statistics, Step, connection_counts, measure_ceiling, measure_steps
from serve.bench.suggestion import Serving, Verdict, judge
from serve.client import Client, Model, Retries
from serve.client.addresses import Address, address_of
from serve.tls_files import ClientFiles

Row: TypeAlias = dict[str, Any]
"""Of one version, in the state."""

CEILING_CONNECTIONS = 32
FIRST_S = 0.3
"""For the one connection that finds out whether the model answers at all, and how large its replies are."""


class Wish(msgspec.Struct, frozen=True):
    """What is to be measured. `rows` is for made-up requests, `seconds` for each step."""

    model: str
    endpoint: str
    file: Path | None
    rows: int
    seconds: float
    max_concurrency: int
    processes: int
    key: str | None
    tls: ClientFiles


class Report(msgspec.Struct, frozen=True):
    """What was measured. `versions` are those that calls go to, by what clients call them, with percent of the calls;
    `payload` is in words; `ceiling_per_s` are the requests a second that the client got out of a server that does
    nothing."""

    model: str
    versions: dict[str, int]
    url: str
    payload: str
    rows: int
    request_bytes: int
    reply_bytes: int
    ceiling_per_s: float
    serving: Serving
    steps: list[Step]
    verdict: Verdict


def measure_model(wish: Wish, rows_now: Callable[[], list[Row]], progress: Callable[[str], None]) -> Report:
    """Measures the model; `rows_now` gives the rows of the state for the versions that its calls go to, `progress` is
    told what is going on. Raises what the endpoint refuses, `InvalidInput` for a file that does not fit, and
    `ModelNotReady` where nothing is answered."""
    address = address_of(wish.endpoint, wish.key, wish.tls)
    model = _described(wish)
    payload = made_up(address, model, wish.rows) if wish.file is None else of_file(address, model, wish.file)
    plan = _plan(wish, address, payload)
    statistics = Statistics(wish.endpoint, wish.model, wish.key, wish.tls)
    try:
        with load_processes(wish.processes) as processes:
            progress("the first answers")
            reply_bytes = _first_answers(plan, processes)
            progress("what the client can do")
            busy = msgspec.structs.replace(plan, connections=min(CEILING_CONNECTIONS, wish.max_concurrency))
            ceiling = measure_ceiling(busy, reply_bytes, processes)
            counts = connection_counts(wish.max_concurrency)
            steps = list(measure_steps(counts, plan, payload.rows, processes, statistics, progress))
        # Asked after the load, which wakes a model that had no replicas.
        rows = rows_now()
        serving = _serving(max(rows, key=lambda row: row["traffic"]), statistics.config())
    finally:
        statistics.close()
    verdict = judge(steps, ceiling, payload.rows, serving)
    return Report(
        model=wish.model,
        versions={row["called"]: row["traffic"] for row in rows},
        url=wish.endpoint,
        payload=payload.what,
        rows=payload.rows,
        request_bytes=len(plan.request),
        reply_bytes=reply_bytes,
        ceiling_per_s=ceiling,
        serving=serving,
        steps=steps,
        verdict=verdict,
    )


def _described(wish: Wish) -> Model:
    tls = wish.tls
    options: dict[str, Any] = {"ca": tls.ca, "certificate": tls.certificate, "private_key": tls.private_key}
    with Client(wish.endpoint, api_key=wish.key, retries=Retries(tries=1), **options) as client:
        return client.model(wish.model)


def _plan(wish: Wish, address: Address, payload: Payload) -> LoadPlan:
    files = (wish.tls.ca or "", wish.tls.certificate or "", wish.tls.private_key or "")
    tls = files if address.is_encrypted else None
    host = address.host
    return LoadPlan(host, address.port, payload.request, 1, WARM_UP_S, wish.seconds, tls, host)


def _first_answers(plan: LoadPlan, processes: LoadProcesses) -> int:
    """The size of a reply."""
    load = processes.run(msgspec.structs.replace(plan, warm_up_s=0.0, seconds=FIRST_S))
    if not load.latencies_us:
        # Slower than that, or refused: once more, with patience for the first answer.
        load = processes.run(msgspec.structs.replace(plan, warm_up_s=0.0, seconds=plan.seconds))
    if not load.latencies_us:
        statuses = ", ".join(f"{count} of status {status}" for status, count in sorted(load.errors.items()) if status)
        raise ModelNotReady(
            f"no request was answered well within {plan.seconds:g} s: {statuses or load.trouble or 'no answer'}; "
            "`onegate infer` tells why, or give each step more --seconds"
        )
    return load.reply_bytes


def _serving(row: Row, config: dict[str, Any]) -> Serving:
    """From the state's row and Triton's `ModelConfig`, which may be empty."""
    batching = config.get("dynamic_batching")
    replicas = row["replicas"]
    return Serving(
        executor=row["executor"] or "",
        replicas=replicas["wanted"],
        bounds=None if replicas["min"] == replicas["max"] else (replicas["min"], replicas["max"]),
        max_batch_size=config.get("max_batch_size"),
        max_delay_ms=(batching or {}).get("max_queue_delay_microseconds", 0) / 1000,
        batches=batching is not None,
        cpus=len(os.sched_getaffinity(0)),
    )
