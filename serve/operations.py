"""What can be asked of the models themselves: load, unload, scale, list. One set for all dialects.

The controller answers them (`serve/control/administration.py`), each change as an edit of desired state that goes
through the same plan and apply as a config. They cross processes: a gateway hands those that reach the endpoint on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what can be asked. Each is answered by a `ModelList` of the models concerned, as they are afterwards."""


class ListModels(Operation, frozen=True, kw_only=True):
    """All models of desired state, by name; with `stored`, those too that are only in the store. Changes nothing."""

    stored: bool = False


class InspectModel(Operation, frozen=True, kw_only=True):
    """One model, or one version of it. Changes nothing. Raises `ModelNotFound`."""

    model: str
    version: str | None = None


class LoadModel(Operation, frozen=True, kw_only=True):
    """Makes a model part of desired state.

    Without `source` and `files`: one that desired state names is prepared again; one that it named earlier comes back
    as it was; one that is only in the store comes in its newest version. `source` is a path or URL that
    `allowed_sources` must admit; `files` are the bytes of an export by relative path, published as a new version, which
    is then the model's only one.

    `version` is what clients call the version by, where that is not the store's number; under it a source stands beside
    the model's other versions, and without it takes their place. `settings` are keys of the model in the config, nested
    as there, that replace what they name.

    With `replace` false a model (or version) that is there already raises `Conflict`. With `wait` the answer comes when
    the model can be called, and a model that can't be prepared or loaded raises its error and leaves desired state as
    it was; else it comes when desired state is written.

    Raises `ModelNotFound`, `Conflict`, `Forbidden` (the source is not admitted), `ConfigError`, and with `wait` what
    preparing or loading raised, `OutOfMemory` among it.
    """

    model: str | None = None
    """None takes the name that the archive itself says."""
    source: str | None = None
    files: Mapping[str, bytes] = {}
    version: str | None = None
    settings: Mapping[str, Any] = {}
    replace: bool = True
    wait: bool = True


class UnloadModel(Operation, frozen=True, kw_only=True):
    """Takes a model, or one version of it, out of desired state; with `wait` the answer comes when it holds no memory.

    Raises `ModelNotFound`, and `Forbidden` for the version that answers by default while there are others. With
    `default_version`, a model without a version stands for that one, and not for all of them.
    """

    model: str
    version: str | None = None
    default_version: bool = False
    wait: bool = True


class ScaleModel(Operation, frozen=True, kw_only=True):
    """Sets how many replicas run a model; more than one moves it out of the gateways. Where the config has bounds,
    `replicas` becomes the lower one, and `most`, if it is told, the upper one. Raises `ModelNotFound`."""

    model: str
    version: str | None = None
    replicas: int
    most: int | None = None
    wait: bool = False


class SetDefault(Operation, frozen=True, kw_only=True):
    """Gives all traffic of a model to one version. Raises `ModelNotFound`."""

    model: str
    version: str


class ReplaceModels(Operation, frozen=True, kw_only=True):
    """Makes `models`, keyed as the config's, all of the models: those that are not listed are retired."""

    models: tuple[Mapping[str, Any], ...]
    wait: bool = True


class SetTraffic(Operation, frozen=True, kw_only=True):
    """Shares the calls of a model that name no version out: percent by version, which add up to 100. Its other versions
    get none; one that is only in the store is loaded. A shadow stays one unless it gets a share. Raises `ModelNotFound`
    and `ConfigError`."""

    model: str
    traffic: Mapping[str, int]
    generation: int | None = None
    """Of desired state, that it was planned from; raises `Conflict` where that is not the newest any more."""


class SetLabels(Operation, frozen=True, kw_only=True):
    """Moves labels of a model to versions, and takes those away that have None; others stay. A version that is only in
    the store is loaded. Raises `ModelNotFound` and `ConfigError`."""

    model: str
    labels: Mapping[str, str | None]
    generation: int | None = None
    """As that of `SetTraffic`."""


class RollBack(Operation, frozen=True, kw_only=True):
    """Makes a model what was served of it before what is desired now, or as record `to` of that says; a model that was
    retired comes back. `why` is added to what the generation says. Raises `ModelNotFound` where there is no such
    record, and what loading raised."""

    model: str
    to: int | None = None
    why: str = ""
    generation: int | None = None
    """As that of `SetTraffic`."""


class VersionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One version, or a model that has none yet (`version` is empty then).

    `state` is a state of a version's life (docs/architecture.md), or `STORED` for one that is only in the store. What
    a gateway says of its own has the first five fields only.
    """

    version: str
    """What clients call it by."""
    state: str
    reason: str | None = None
    labels: tuple[str, ...] = ()
    default: bool = False
    traffic: int = 0
    shadow: float | None = None
    """Percent of the calls of which it gets copies: a shadow's, or a canary's that is compared; None where it gets
    none."""
    kept_until: float | None = None
    """By the controller's clock, until when it stays loaded though it was replaced; None where it was not."""
    source: str | None = None
    framework: str | None = None
    runtime: str | None = None
    executor: str | None = None
    replicas_ready: int = 0
    replicas_wanted: int = 0
    replicas_bounds: tuple[int, int] | None = None
    """Between these the number wanted moves; None where it stays."""
    max_batch_size: int = 0
    max_delay_ms: float = 0.0
    deadline_ms: int = 0
    size_bytes: int = 0
    """Of the version's files."""
    created: str | None = None
    """When it was published: UTC, ISO 8601."""
    at_start: bool = False
    """Whether the desired state that the controller started with named it; else a later change did."""
    was_shadow: bool = False
    """Whether the change that this answers has made a version that has a share of the calls of what was a shadow."""

    @property
    def replicas_min(self) -> int:
        """The fewest replicas that may be wanted."""
        return self.replicas_bounds[0] if self.replicas_bounds else self.replicas_wanted

    @property
    def replicas_max(self) -> int:
        """The most replicas that may be wanted."""
        return self.replicas_bounds[1] if self.replicas_bounds else self.replicas_wanted


class ModelStatus(msgspec.Struct, frozen=True):
    """A model and its versions, oldest first."""

    model: str
    versions: tuple[VersionStatus, ...] = ()


class ModelList(msgspec.Struct, frozen=True):
    """The answer to an operation: models by name."""

    models: tuple[ModelStatus, ...] = ()
