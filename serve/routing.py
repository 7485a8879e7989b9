"""The numbered routing table: which versions there are, how each is run, and how calls of a model are shared out.

The controller writes tables, gateways read them (`router.py`). A table is whole: a gateway needs only the newest.
"""

from __future__ import annotations

import math

import msgspec

from model_store.access_keys import AccessKey
from model_store.manifest import Manifest
from serve.devices import DeviceOptions
from serve.rollouts.sticky import Sticky

VersionKey = tuple[str, int]
"""Model name and version number."""


BEING_PREPARED = "it is being prepared; try again shortly"
BEING_LOADED = "it is loading; try again shortly"
NOT_YET = frozenset({BEING_PREPARED, BEING_LOADED})
"""Reasons why a model can't be called that pass by themselves; any other is a failure."""


class Batching(msgspec.Struct, frozen=True):
    """`max_queue` bounds the rows that wait in one gateway; more are refused as overload. Batches are padded up to the
    next of `preferred`, sizes in rows, where there is one."""

    max_batch_size: int = 64
    max_delay_ms: float = 0.0
    max_queue: int = 1024
    preferred: tuple[int, ...] = ()


class UpstreamOptions(msgspec.Struct, frozen=True):
    """How a model of another server is called. Files are read where the calls are made; no secret is in here."""

    ca: str | None = None
    certificate: str | None = None
    private_key: str | None = None
    api_key_file: str | None = None
    api_key_env: str | None = None
    api_key_header: str = "authorization"
    max_concurrent: int = 64
    merge: bool = False


class Scaling(msgspec.Struct, frozen=True):
    """Between what, and when, the number of a version's replicas moves (`serve/control/scaling.py`). `target_rows`,
    waiting or running, are meant for each replica."""

    least: int
    most: int
    target_rows: int
    up_delay_s: float
    down_delay_s: float

    def within(self, replicas: int) -> int:
        """The number nearest to `replicas` that the bounds admit."""
        return min(max(replicas, self.least), self.most)


class ServeOptions(msgspec.Struct, frozen=True):
    """How a version is run. `executor` is decided: `inline`, `replicas` or `upstream`, never `auto`. `replicas` is the
    number that is wanted now; with `scaling` it moves."""

    executor: str
    cpus: float = 1
    replicas: int = 1
    batching: Batching = Batching()
    deadline_ms: int = 30_000
    cache_mib: int = 0
    """Of the response cache in each gateway; 0 is none."""
    hedge_ms: float | None = None
    """A batch that a replica has not answered after this long goes to a second one too; None is never."""
    hang_timeout_s: float | None = None
    """How long a batch may run before the runtime counts as hung; None for what `watchdog.py` makes of the deadline."""
    upstream: UpstreamOptions | None = None
    """For the executor `upstream` only."""
    scaling: Scaling | None = None
    threads: int | None = None
    """In which a batch is computed; None is `cpus`, rounded up."""
    devices: DeviceOptions = DeviceOptions()

    @property
    def cpu_threads(self) -> int:
        """In which a batch is computed."""
        return self.threads or math.ceil(self.cpus)


class Replica(msgspec.Struct, frozen=True):
    """Where a model replica listens: a local socket for gateways of its node, `host:port` for others."""

    id: str
    node: str
    local: str
    remote: str


class VersionEntry(msgspec.Struct, frozen=True):
    """A version that gateways hold ready."""

    manifest: Manifest
    serve: ServeOptions
    replicas: tuple[Replica, ...] = ()

    @property
    def key(self) -> VersionKey:
        """Model name and version number."""
        return (self.manifest.name, self.manifest.version)


def with_replicas(entry: VersionEntry, replicas: int) -> VersionEntry:
    """The same version with another number of replicas wanted."""
    return msgspec.structs.replace(entry, serve=msgspec.structs.replace(entry.serve, replicas=replicas))


def runs_differently(old: VersionEntry, new: VersionEntry) -> bool:
    """Whether the change needs another executor; limits and the number of replicas change in place."""
    return _run_by(old.serve) != _run_by(new.serve)


def _run_by(serve: ServeOptions) -> tuple[object, ...]:
    return serve.executor, serve.cpus, serve.cpu_threads, serve.devices, serve.upstream


class ModelRoute(msgspec.Struct, frozen=True):
    """How calls of a model are shared out: (version, percent) pairs that add up to 100, and names of versions.

    `aliases` are what the config says under `as_version`: text that clients have for a version. `shadows` are (version,
    percent) pairs too: of so many of the calls the version gets copies.
    """

    split: tuple[tuple[int, int], ...]
    labels: dict[str, int] = {}
    aliases: dict[str, int] = {}
    shadows: tuple[tuple[int, float], ...] = ()
    sticky: Sticky | None = None

    @property
    def is_watched(self) -> bool:
        """Whether there is something to compare: several versions share the calls, or get copies."""
        return len(self.split) > 1 or bool(self.shadows)


class Made(msgspec.Struct, frozen=True):
    """What a model's sources were when they were last read: source -> number of the version that was made of it.
    `generation` is the one that they were read for."""

    generation: int
    versions: dict[str, int]


class RoutingTable(msgspec.Struct, frozen=True):
    """All that a gateway needs to answer. Numbers only grow, across restarts of the controller too."""

    number: int
    store: str
    versions: tuple[VersionEntry, ...] = ()
    routes: dict[str, ModelRoute] = {}
    unavailable: dict[str, str] = {}
    """Model -> why it can't be called, for models of the config that have no route."""
    keys: tuple[AccessKey, ...] = ()
    """Of callers; none where nobody's are looked at."""
    fallbacks: tuple[VersionEntry, ...] = ()
    """How versions that answer are run until a change of that is ready. As `made`, for the next controller only."""
    made: dict[str, Made] = {}
    """By model."""


def version_or_label(text: str | None) -> tuple[str | None, str | None]:
    """Version and label of which a client may send either: what begins with a digit is a version (config_rules.py)."""
    if not text:
        return None, None
    return (text, None) if text[0].isdigit() else (None, text)
