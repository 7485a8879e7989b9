"""Which version answers a request: the router, which reads the newest routing table."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import accumulate
from typing import NoReturn

from model_store.errors import InvalidInput, ModelNotFound, ModelNotReady
from serve.rollouts.sticky import Asker, sticky_value, sticky_version
from serve.routing import RoutingTable, VersionKey


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
