"""What steps say: where the knee is, whether the client was the limit, and which batching values to try."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from serve.bench.steps import MOST_ERRORS, Step

NEAR_THE_MOST = 0.9
"""The knee is the fewest connections with this share of the most requests a second: beyond it, calls mostly wait."""

CLIENT_SHARE = 0.7
"""Of the client's ceiling, from which on the server may well be faster than what was measured."""

CLIENT_BUSY_PERCENT = 90.0
MACHINE_BUSY_PERCENT = 90.0
LARGEST_BATCH = 1024

LONG_BATCH_MS = 2.0
"""From which on a wait of a quarter of it is one that a timer can keep."""

LONG_INLINE_MS = 5.0
"""From which on `executor: auto` takes replicas."""


class Serving(msgspec.Struct, frozen=True):
    """How the model is served now. `replicas` is how many the load was given, `bounds` the fewest and the most that the
    config allows, None where it names a number. `max_batch_size` is 0 where the model has no batch dimension, None
    where nobody tells; `batches` says whether rows of several requests share a batch."""

    executor: str
    replicas: int
    bounds: tuple[int, int] | None
    max_batch_size: int | None
    max_delay_ms: float
    batches: bool
    cpus: float


class Value(msgspec.Struct, frozen=True):
    """A value to try, and why."""

    key: str
    now: float | str | None
    value: float | str | None
    reason: str


class Verdict(msgspec.Struct, frozen=True):
    """The knee is None where no step went well, and where there is none yet: `still_growing` says that the last step
    brought so much that the knee lies behind it."""

    knee: int | None
    still_growing: bool
    client_limits: bool
    notes: list[str]
    values: list[Value]


def judge(steps: Sequence[Step], ceiling_per_s: float, rows: int, serving: Serving) -> Verdict:
    """The verdict on at least one step, made with requests of so many rows."""
    good = [step for step in steps if step.requests and step.failed_share <= MOST_ERRORS]
    if not good:
        return Verdict(None, False, False, [f"no step went well: {_errors(steps[-1])}"], [])
    most = max(step.requests_per_s for step in good)
    knee = next(step for step in good if step.requests_per_s >= NEAR_THE_MOST * most)
    top = max(good, key=lambda step: step.requests_per_s)
    busy_client = any(step.client_percent >= CLIENT_BUSY_PERCENT for step in good)
    client_limits = most >= CLIENT_SHARE * ceiling_per_s or busy_client
    growing = knee is steps[-1] and len(steps) > 1
    notes = _notes(steps, top, client_limits, ceiling_per_s)
    values = [
        *_max_batch_size(good[0], knee, rows, serving),
        *_max_delay(knee, rows, serving),
        *_replicas(good[0], knee, serving),
    ]
    return Verdict(None if growing else knee.connections, growing, client_limits, notes, values)


def _notes(steps: Sequence[Step], top: Step, client_limits: bool, ceiling_per_s: float) -> list[str]:
    notes = []
    if client_limits:
        notes.append(
            f"the client is the limit: it got {top.requests_per_s:.0f} of at most {ceiling_per_s:.0f} requests/s, so "
            "the model may be faster; measure from another machine, or with --processes 2 where CPUs are free"
        )
    failing = next((step for step in steps if step.failed_share > MOST_ERRORS), None)
    if failing is not None:
        notes.append(f"{failing.connections} connections: {failing.failed_share:.1%} failed: {_errors(failing)}")
    if top.machine_percent >= MACHINE_BUSY_PERCENT:
        notes.append(
            f"this machine's CPUs were {top.machine_percent:.0f}% busy at {top.connections} connections, with the "
            "client's own work and everything else that ran here"
        )
    return notes


def _errors(step: Step) -> str:
    counts = ", ".join(
        f"{count} {'without an answer' if status == 0 else f'of status {status}'}"
        for status, count in sorted(step.errors.items())
    )
    return counts + (f" ({step.trouble})" if step.trouble else "")


def _max_batch_size(first: Step, knee: Step, rows: int, serving: Serving) -> list[Value]:
    key, now = "serve.batching.max_batch_size", serving.max_batch_size
    if now is None or now == 0 or not serving.batches:
        why = "the model has no batch dimension" if now == 0 else "rows of several requests do not share its batches"
        return [] if now is None else [Value(key, now, now, f"has no effect: {why}")]
    seen = knee.batch_rows
    if seen is None:
        return [Value(key, now, now, "nothing to say: the gateway tells no batch sizes (scope `view`)")]
    flying = knee.connections * rows
    if seen >= 0.8 * now and flying > now:
        wanted = min(LARGEST_BATCH, _power_of_two(flying))
        return [Value(key, now, wanted, f"batches were full: {seen:.3g} rows of {now}, with {flying} rows under way")]
    gain = knee.requests_per_s / first.requests_per_s
    reason = f"batches held {seen:.3g} rows on average at {_connections(knee)}, with {flying} rows under way"
    if knee is not first:
        reason += f", for {gain:.2g} times the requests/s of one connection"
    return [Value(key, now, now, f"enough: {reason}")]


def _connections(step: Step) -> str:
    return f"{step.connections} connection{'' if step.connections == 1 else 's'}"


def _power_of_two(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()


def _max_delay(knee: Step, rows: int, serving: Serving) -> list[Value]:
    key, now = "serve.batching.max_delay_ms", serving.max_delay_ms
    if not serving.batches or not serving.max_batch_size or knee.batch_rows is None:
        return []
    flying = knee.connections * rows
    small = knee.batch_rows < 0.5 * min(flying, serving.max_batch_size)
    if small and serving.executor == "replicas" and knee.batch_ms and knee.batch_ms > LONG_BATCH_MS and not now:
        reason = (
            f"batches left with {knee.batch_rows:.3g} of {flying} rows under way and took {knee.batch_ms:.3g} ms: a "
            "quarter of that may fill them; each call pays for it, so measure again"
        )
        return [Value(key, now, round(knee.batch_ms / 4, 1), reason)]
    if now and (knee.queue_ms or 0) < now:
        return [Value(key, now, 0.0, "waiting does not fill batches: without it each call is that much faster")]
    return [Value(key, now, now, "a batch leaves when the executor is free; under load that fills it by itself")]


def _replicas(first: Step, knee: Step, serving: Serving) -> list[Value]:
    if serving.executor == "inline":
        return [_inline(first)]
    if serving.executor != "replicas":
        return []
    # Bounds stay bounds: of them the most is what may hold the model back.
    key = "serve.replicas.max" if serving.bounds else "serve.replicas"
    now = serving.bounds[1] if serving.bounds else serving.replicas
    queue_ms, batch_ms = knee.queue_ms or 0.0, knee.batch_ms or 0.0
    if queue_ms <= batch_ms:
        return [Value(key, now, now, "replicas keep up: calls wait less than they are computed")]
    waiting = f"calls wait {queue_ms:.3g} ms"
    if serving.replicas < now:
        reason = f"{waiting}, and {serving.replicas} of {now} replicas were asked for: a smaller `target_queue` asks "
        return [Value(key, now, now, f"{reason}for more, longer steps (--seconds) give them time to come")]
    idle = serving.cpus * (1 - knee.machine_percent / 100)
    if idle < 1:
        return [Value(key, now, now, f"{waiting}, but CPUs are busy: more replicas help on another node only")]
    reason = f"{waiting} for {batch_ms:.3g} ms of work, and {idle:.1f} CPUs are idle"
    return [Value(key, now, now + int(idle), reason)]


def _inline(first: Step) -> Value:
    """Whether a model that computes in the gateway's own process had better not."""
    alone = first.batch_ms if first.batch_ms is not None else first.p50_ms or 0.0
    if alone <= LONG_INLINE_MS:
        return Value("serve.executor", "inline", "inline", f"a batch takes {alone:.3g} ms: a hop would cost more")
    reason = f"a batch takes {alone:.3g} ms, in which the gateway answers nobody else; replicas keep it free"
    return Value("serve.executor", "inline", "replicas", reason)
