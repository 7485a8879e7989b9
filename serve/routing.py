"""Which version answers a request: the numbered routing table, and the router that reads it.

The controller writes tables, gateways read them. A table is whole: a gateway needs nothing but the newest.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import accumulate
from typing import NoReturn

import msgspec

from model_store.access_keys import AccessKey
from model_store.errors import InvalidInput, ModelNotFound, ModelNotReady
from model_store.manifest import Manifest
from serve.devices import DeviceOptions
from serve.rollouts.sticky import Asker, Sticky, sticky_value, sticky_version

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


class Router:
    """Picks the version for a request from the newest table."""

    def __init__(self, table: RoutingTable | None = None, pick: Callable[[], float] = random.random) -> None:
        self._pick = pick
        self.update(table or RoutingTable(number=0, store=""))

    def update(self, table: RoutingTable) -> None:
        """Takes over a table, in one step for all later requests."""
        self.table = table
        self._callable: dict[str, dict[str, int]] = {}
        self._named = {
            (name, number): alias for name, route in table.routes.items() for alias, number in route.aliases.items()
        }
        for entry in table.versions:
            name, version = entry.key
            self._callable.setdefault(name, {})[str(version)] = version
        for name, route in table.routes.items():
            self._callable.setdefault(name, {}).update(route.aliases)
        self._single = {name: route.split[0][0] for name, route in table.routes.items() if len(route.split) == 1}
        self._weights = {
            name: list(accumulate(percent for _, percent in route.split)) for name, route in table.routes.items()
        }
        self.watched = {name: route for name, route in table.routes.items() if route.is_watched}
        """The routes of which calls are counted and compared (`serve/rollouts/observing.py`)."""

    def name_of(self, key: VersionKey) -> str:
        """The text that clients have for a version: its alias where it has one, else its number in the store."""
        return self._named.get(key) or str(key[1])

    def knows(self, model: str) -> bool:
        """Whether the table names the model."""
        return model in self.table.routes or model in self.table.unavailable

    def versions(self, model: str) -> tuple[str, ...]:
        """What versions can be called by, aliases in place of the numbers that they stand for; raises as `resolve`."""
        return tuple(dict.fromkeys(self.name_of((model, number)) for number in self._numbers(model).values()))

    def labels(self, model: str) -> dict[str, str]:
        """Label -> version, as clients have it."""
        route = self.table.routes.get(model)
        return {label: self.name_of((model, number)) for label, number in route.labels.items()} if route else {}

    def resolve(
        self, model: str, version: str | None = None, label: str | None = None, asker: Asker | None = None
    ) -> VersionKey:
        """The version to call. `version` is an alias, else a number of the store: an alias goes first. `model` is empty
        for the only model that there is. `asker` is looked at only where the model's route is sticky.

        Raises `ModelNotFound` for an unknown model, version or label, `ModelNotReady` for a model of the config that
        has no version to call yet, `InvalidInput` for an empty name where there is not one model.
        """
        model = model or self._only_model()
        if version is None and label is None:
            single = self._single.get(model)
            return (model, single) if single is not None else (model, self._by_traffic(model, asker))
        if label is not None:
            return (model, self._by_label(model, label))
        assert version is not None
        number = self._numbers(model).get(version)
        if number is None:
            listed = ", ".join(self.versions(model))
            raise ModelNotFound(
                f"model {model!r} has no version {version:.40} here; callable: {listed}",
                model=model,
                version=version,
            )
        return (model, number)

    def _only_model(self) -> str:
        names = self.table.routes.keys() | self.table.unavailable.keys()
        if not self.table.number:
            self._raise_absent("")
        if len(names) != 1:
            raise InvalidInput("Parameter model_name is required.", served=len(names))
        return next(iter(names))

    def _numbers(self, model: str) -> dict[str, int]:
        if model not in self._callable:
            self._raise_absent(model)
        return self._callable[model]

    def _by_traffic(self, model: str, asker: Asker | None) -> int:
        route = self.table.routes.get(model)
        if route is None:
            self._raise_absent(model)
        if route.sticky is not None and asker is not None and (value := sticky_value(route.sticky, asker)):
            return sticky_version(model, value, route.split)
        point = self._pick() * 100
        for (version, _), bound in zip(route.split, self._weights[model], strict=True):
            if point < bound:
                return version
        return route.split[-1][0]

    def _by_label(self, model: str, label: str) -> int:
        route = self.table.routes.get(model)
        if route is None:
            self._raise_absent(model)
        if label not in route.labels:
            listed = ", ".join(sorted(route.labels)) or "none"
            raise ModelNotFound(
                f"model {model!r} has no label {label!r:.40}; labels: {listed}", model=model, label=label
            )
        return route.labels[label]

    def _raise_absent(self, model: str) -> NoReturn:
        if not self.table.number:
            raise ModelNotReady("this gateway is starting and knows no models yet; try again shortly", model=model)
        reason = self.table.unavailable.get(model)
        if reason is not None:
            raise ModelNotReady(f"model {model!r} can't be called now: {reason}", model=model)
        raise ModelNotFound(f"model {model!r} is not served here", model=model)
