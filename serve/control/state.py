"""What is told of models: `GET /api/state`, `onegate status --json`, and the answers to operations, from one source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from model_store.errors import OnegateError
from model_store.manifest import Manifest
from serve.config import Config
from serve.control.fleet import Fleet
from serve.control.wanted import VersionState
from serve.devices import CPU, UNASKED, Device
from serve.operations import ModelStatus, VersionStatus
from serve.rollouts.records import moment
from serve.routing import ModelRoute, VersionKey


@dataclass
class Gathered:
    """What the controller knows of models beside their versions. `progress` is a line on the conversion under way,
    `failures` why the last preparation gave no version, `at_start` what has been wanted since the controller began."""

    progress: dict[str, str] = field(default_factory=dict)
    failures: dict[str, OnegateError] = field(default_factory=dict)
    at_start: frozenset[VersionKey] = frozenset()
    stopping: bool = False

    def begin(self, model: str) -> None:
        """A preparation begins; an earlier failure is past."""
        self.failures.pop(model, None)
        self.progress[model] = "waiting for its turn"

    def note_progress(self, model: str, text: str) -> None:
        """A line of the preparation under way."""
        if model in self.progress:
            self.progress[model] = text

    def note_wanted(self, model: str, versions: Iterable[VersionKey], *, at_start: bool = False) -> None:
        """These are all that is wanted of the model now. One that comes back later was not there all the time."""
        wanted = frozenset(versions)
        kept = (key for key in self.at_start if key[0] != model or key in wanted)
        self.at_start = frozenset(kept) | (wanted if at_start else frozenset())

    def fail(self, model: str, error: OnegateError) -> None:
        """The preparation ended without a version."""
        self.progress.pop(model, None)
        self.failures[model] = error

    def forget(self, model: str) -> None:
        """The preparation ended well, or nobody wants it any more."""
        self.progress.pop(model, None)
        self.failures.pop(model, None)


def describe_state(
    config: Config, generation: int, fleet: Fleet, gathered: Gathered, since_1970_s: float
) -> dict[str, Any]:
    """The whole state, JSON-able. `since_1970_s` and the fleet's clock make up seconds since 1970."""
    gateway = config.gateway
    states = _by_model(fleet)
    return {
        "gateway": {
            "http": gateway.http_url,
            "grpc": f"{gateway.host}:{gateway.grpc_port}",
            "management": gateway.management_url,
        },
        "generation": generation,
        "table": fleet.table.number,
        "followed": fleet.heard.is_followed(fleet.table.number),
        "stopping": gathered.stopping,
        "models": [
            _row(name, manifest, status, _devices_of(manifest, status, fleet), since_1970_s)
            for name in model_names(config, fleet)
            for manifest, status in _statuses(name, states.get(name, ()), fleet, gathered)
        ],
    }


def model_names(config: Config, fleet: Fleet) -> list[str]:
    """The models of the config, in its order, and those that are on their way out."""
    names = [model.name for model in config.models]
    return [*names, *sorted({key[0] for key in fleet.versions} - set(names))]


def called_versions(fleet: Fleet) -> dict[VersionKey, str]:
    """What clients call each version by. Where two have the same text, which goes to the alias, the other is `vN`."""
    called: dict[VersionKey, str] = {}
    for model, states in _by_model(fleet).items():
        route = fleet.table.routes.get(model)
        aliases = {version: alias for alias, version in (route.aliases if route else {}).items()}
        aliases |= {each.entry.manifest.version: each.alias for each in fleet.wanted(model) if each.alias}
        taken = set(aliases.values())
        for version in (state.entry.key[1] for state in states):
            number = f"v{version}" if str(version) in taken else str(version)
            called[model, version] = aliases.get(version, number)
    return called


def model_statuses(names: Iterable[str], fleet: Fleet, gathered: Gathered) -> tuple[ModelStatus, ...]:
    """These models and what there is of them, oldest version first."""
    states = _by_model(fleet)
    return tuple(
        ModelStatus(name, tuple(status for _, status in _statuses(name, states.get(name, ()), fleet, gathered)))
        for name in names
    )


def stored_status(manifest: Manifest) -> VersionStatus:
    """A version that is only in the store."""
    return VersionStatus(
        version=str(manifest.version),
        state="STORED",
        framework=manifest.framework,
        runtime=manifest.runtime,
        size_bytes=_size_bytes(manifest),
        created=manifest.created,
    )


def _by_model(fleet: Fleet) -> dict[str, list[VersionState]]:
    """The versions of each model, oldest first."""
    found: dict[str, list[VersionState]] = {}
    for key in sorted(fleet.versions):
        found.setdefault(key[0], []).append(fleet.versions[key])
    return found


def _statuses(
    name: str, states: Iterable[VersionState], fleet: Fleet, gathered: Gathered
) -> Iterator[tuple[Manifest | None, VersionStatus]]:
    """Each version with its manifest; None for what has no version yet."""
    route = fleet.table.routes.get(name)
    for state in states:
        at_start = state.entry.key in gathered.at_start
        yield state.entry.manifest, _version_status(state, route, fleet, at_start)
    if name in gathered.progress:
        yield None, VersionStatus(version="", state="CONVERTING", reason=gathered.progress[name])
    if name in gathered.failures:
        yield None, VersionStatus(version="", state="FAILED", reason=gathered.failures[name].message)


def _version_status(state: VersionState, route: ModelRoute | None, fleet: Fleet, at_start: bool) -> VersionStatus:
    manifest, serve = state.entry.manifest, state.entry.serve
    number, key = manifest.version, state.entry.key
    traffic = sum(percent for version, percent in route.split if version == number) if route else 0
    on_replicas = serve.executor == "replicas"
    bounds = serve.scaling
    named = [wanted for wanted in fleet.wanted(manifest.name) if wanted.entry.key == key]
    aliases = [wanted.alias for wanted in named if wanted.alias] or _names_of(number, route.aliases if route else {})
    trouble = fleet.trouble_of(key) if state.phase == "READY" else None
    return VersionStatus(
        version=next(iter(aliases), str(number)),
        state="FAILED" if trouble else "IDLE" if fleet.is_idle(key) else state.phase,
        reason=trouble or state.reason,
        labels=tuple(sorted(_names_of(number, route.labels if route else {}))),
        default=traffic > 0,
        traffic=traffic,
        shadow=next((percent for version, percent in (route.shadows if route else ()) if version == number), None),
        kept_until=fleet.kept_until(key),
        source=next((wanted.source for wanted in named), None),
        framework=manifest.framework,
        runtime=manifest.runtime,
        executor=serve.executor,
        replicas_ready=len(fleet.heard.replicas_of(key)) if on_replicas else int(state.phase == "READY"),
        replicas_wanted=serve.replicas if on_replicas else 1,
        replicas_bounds=(bounds.least, bounds.most) if bounds else None,
        max_batch_size=serve.batching.max_batch_size,
        max_delay_ms=serve.batching.max_delay_ms,
        deadline_ms=serve.deadline_ms,
        size_bytes=_size_bytes(manifest),
        created=manifest.created,
        at_start=at_start,
    )


def _names_of(number: int, names: Mapping[str, int]) -> Iterable[str]:
    return [name for name, version in names.items() if version == number]


def _size_bytes(manifest: Manifest) -> int:
    return sum(entry.size for entry in manifest.files.values())


def _devices_of(manifest: Manifest | None, status: VersionStatus, fleet: Fleet) -> Sequence[Device]:
    """Of each replica that is heard of; gateways compute on CPUs."""
    if manifest is None:
        return ()
    key = (manifest.name, manifest.version)
    if status.executor == "inline":
        asked = fleet.versions[key].entry.serve.devices
        return (msgspec.structs.replace(CPU, reason=UNASKED if asked.device == "auto" else None),)
    return fleet.heard.devices_of(key)


def _row(
    name: str, manifest: Manifest | None, status: VersionStatus, devices: Sequence[Device], since_1970_s: float
) -> dict[str, Any]:
    """DESIGN: output that programs read. `version` is the store's number, `called` what clients call it by."""
    return {
        "name": name,
        "version": manifest.version if manifest else None,
        "called": status.version or None,
        "state": status.state,
        "default": status.default,
        "labels": list(status.labels),
        "traffic": status.traffic,
        "shadow": status.shadow,
        "kept_until": None if status.kept_until is None else moment(since_1970_s + status.kept_until),
        "executor": status.executor,
        "runtime": status.runtime,
        # Several while replicas take over from others, or where one could not use its GPU.
        "device": ", ".join(sorted({device.kind for device in devices})) or None,
        "device_reason": next((device.reason for device in devices if device.reason), None),
        "gpus": [device.visible for device in devices if device.visible],
        "replicas": {
            "ready": status.replicas_ready,
            "wanted": status.replicas_wanted,
            "min": status.replicas_min,
            "max": status.replicas_max,
        },
        "reason": status.reason,
        "framework": status.framework,
        "max_rel_error": manifest.parity.max_rel_error if manifest and manifest.parity else None,
    }
