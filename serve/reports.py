"""What gateways and model replicas tell the controller every second. Plain data: Ray carries it between processes."""

from __future__ import annotations

import msgspec

from model_store.errors import ERROR_KINDS, ModelNotReady, OnegateError
from serve.devices import CPU, Device, unlike_default
from serve.log_lines import LogLine
from serve.metrics.gpus import GpuUse
from serve.metrics.ledger import Estate
from serve.routing import Replica, ServeOptions, VersionEntry, VersionKey

READY = "ready"
LOADING = "loading"
DRAINING = "draining"
IDLE = "idle"
"""What a gateway says of a version; any other text is the reason why it can't load it (`failure_text`). `IDLE` is one
that was loaded and is not any more: its next request loads it again."""

TROUBLE = "trouble: "
"""Begins what a gateway says of a version that it has loaded and can't run for now; `failure_text` follows."""

HEARTBEAT_S = 1.0

LEASE_S = 4.0
"""How long the controller believes in a gateway or replica after its last heartbeat."""


class VersionLoad(msgspec.Struct, frozen=True):
    """What a gateway has of a version: `rows` that wait or run, the seconds since a batch of it ended (None where none
    did), and how long all its batches took together since the gateway loaded it."""

    rows: int
    idle_s: float | None = None
    busy_s: float = 0.0


class GatewayReport(msgspec.Struct, frozen=True):
    """`table` is the number of the routing table that it follows; `states` is `VersionLoader.states`. `loads` are those
    of the versions whose number of replicas moves, `seen` what was counted and compared of models that are watched
    (`Observer.report`), `counted` what is new of all that it counts (`Tally.report`), and `estate` the number of what
    it keeps of gateways that have gone. `lines` are log lines that no file of the node collects."""

    id: str
    table: int
    states: dict[VersionKey, str]
    loads: dict[VersionKey, VersionLoad] = {}
    seen: bytes = b""
    counted: bytes = b""
    estate: int = 0
    node: str = ""
    lines: tuple[LogLine, ...] = ()


class Heard(msgspec.Struct, frozen=True):
    """The controller's answer to a gateway: its epoch, and the estate that the gateway is to keep, where it has
    another."""

    epoch: int
    estate: Estate | None = None


class ReplicaReport(msgspec.Struct, frozen=True):
    """`deployment` tells what it was started as (`deployment_text`). `failure` says why the replica can't serve,
    `leaving` that it takes no more calls, `device` where it computes. `busy` is the share of the time since the last
    report in which a batch ran; `gpus` are those of its node, where it computes on one; `lines` are as a
    gateway's."""

    replica: Replica
    key: VersionKey
    deployment: str
    failure: str | None = None
    leaving: bool = False
    device: Device = CPU
    busy: float = 0.0
    memory_bytes: int = 0
    gpus: tuple[GpuUse, ...] = ()
    lines: tuple[LogLine, ...] = ()


def failure_text(error: OnegateError) -> str:
    """An error as reports carry it: its kind and its message."""
    return f"{type(error).__name__}: {error.message}"


def told_failure(text: str) -> OnegateError:
    """The error that `text` tells; `ModelNotReady` for text that names no kind, as Ray Serve's own."""
    text = text.removeprefix(TROUBLE)
    name, _, message = text.partition(": ")
    kind = ERROR_KINDS.get(name)
    return ModelNotReady(text) if kind is None else kind(message)


def deployment_text(entry: VersionEntry) -> str:
    """What of an entry a replica is started with: when it differs, replicas have to be started anew."""
    serve, batching = entry.serve, entry.serve.batching
    sizes = "".join(f"/{size}" for size in batching.preferred)
    hang = "" if serve.hang_timeout_s is None else f"/hang{serve.hang_timeout_s:g}"
    if serve.hang_timeout_s is None and serve.deadline_ms > ServeOptions("").deadline_ms:
        # The deadline decides when a batch counts as hung: replicas that know a shorter one would end it too early.
        hang = f"/deadline{serve.deadline_ms}"
    # What is as by default is left out, so that replicas of an earlier release stay.
    threads = f"/threads={serve.threads}" if serve.threads else ""
    devices = unlike_default(serve.devices)
    return f"{entry.manifest.key}/{serve.cpus:g}/{batching.max_batch_size}{sizes}{hang}{threads}{devices}"
