"""What `GET /api/state` and `onegate status --json` tell: the config, the versions, and how far each is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from serve.config import Config
from serve.fleet import Fleet, VersionState
from serve.routing import ModelRoute


@dataclass
class Gathered:
    """What the controller knows of models beside their versions. `progress` is a line on the conversion under way,
    `failures` why the last preparation gave no version."""

    progress: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    stopping: bool = False

    def begin(self, model: str) -> None:
        """A preparation begins; an earlier failure is past."""
        self.failures.pop(model, None)
        self.progress[model] = "waiting for its turn"

    def note_progress(self, model: str, text: str) -> None:
        """A line of the preparation under way."""
        if model in self.progress:
            self.progress[model] = text

    def fail(self, model: str, reason: str) -> None:
        """The preparation ended without a version."""
        self.progress.pop(model, None)
        self.failures[model] = reason

    def forget(self, model: str) -> None:
        """The preparation ended well, or nobody wants it any more."""
        self.progress.pop(model, None)
        self.failures.pop(model, None)


def describe_state(config: Config, generation: int, fleet: Fleet, gathered: Gathered) -> dict[str, Any]:
    """The whole state, JSON-able."""
    gateway = config.gateway
    rows: list[dict[str, Any]] = []
    names = [model.name for model in config.models]
    for name in [*names, *sorted({key[0] for key in fleet.versions} - set(names))]:
        rows += _model_rows(name, fleet, gathered)
    return {
        "gateway": {
            "http": f"http://{gateway.host}:{gateway.http_port}",
            "grpc": f"{gateway.host}:{gateway.grpc_port}",
            "management": f"http://{gateway.management_host}:{gateway.management_port}",
        },
        "generation": generation,
        "table": fleet.table.number,
        "stopping": gathered.stopping,
        "models": rows,
    }


def _model_rows(name: str, fleet: Fleet, gathered: Gathered) -> list[dict[str, Any]]:
    route = fleet.table.routes.get(name)
    states = sorted((key[1], state) for key, state in fleet.versions.items() if key[0] == name)
    rows = [_version_row(state, route, fleet) for _, state in states]
    if name in gathered.progress:
        rows.append(_row(name, state="CONVERTING", reason=gathered.progress[name]))
    if name in gathered.failures:
        rows.append(_row(name, state="FAILED", reason=gathered.failures[name]))
    return rows


def _version_row(state: VersionState, route: ModelRoute | None, fleet: Fleet) -> dict[str, Any]:
    manifest, serve = state.entry.manifest, state.entry.serve
    version = manifest.version
    traffic = sum(percent for number, percent in route.split if number == version) if route else 0
    on_replicas = serve.executor == "replicas"
    ready = len(fleet.replicas_of(state.entry.key)) if on_replicas else int(state.phase == "READY")
    return _row(
        manifest.name,
        state=state.phase,
        reason=state.reason,
        version=version,
        default=traffic > 0,
        labels=sorted(label for label, v in route.labels.items() if v == version) if route else [],
        traffic=traffic,
        executor=serve.executor,
        runtime=manifest.runtime,
        device="cpu",
        replicas={"ready": ready, "wanted": serve.replicas if on_replicas else 1},
        framework=manifest.framework,
        max_rel_error=manifest.parity.max_rel_error if manifest.parity else None,
    )


def _row(name: str, **known: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name,
        "version": None,
        "state": None,
        "default": False,
        "labels": [],
        "traffic": 0,
        "executor": None,
        "runtime": None,
        "device": None,
        "replicas": {"ready": 0, "wanted": 0},
        "reason": None,
        "framework": None,
        "max_rel_error": None,
    }
    return row | known
