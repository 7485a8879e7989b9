"""What a handler is started with: its Python, and what its `context` will say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from converters.handlers.environment import environment_for
from model_store.archive_files import read_config
from model_store.errors import ModelNotReady, SourceError, first_line
from model_store.manifest import HandlerSpec, Manifest
from serve.devices import CPU, Device
from serve.runtimes.handler_folder import HandlerFolder
from serve.runtimes.handler_process import HandlerCommand

START_TIMEOUT_S = 120.0
"""For loading a handler, unless its `model-config.yaml` has a `startupTimeout`."""
MANIFEST = "MAR-INF/MANIFEST.json"
LEGACY_MANIFESTS = ("MANIFEST.json", "manifest.json")
"""Of MMS 0.4; other things are called so too."""
MANIFEST_KEYS = {
    "model_name": "modelName",
    "model_version": "modelVersion",
    "model_file": "modelFile",
    "serialized_file": "serializedFile",
    "config_file": "configFile",
}
"""Property of the version -> key of the archive's manifest."""


def handler_command(
    private: HandlerFolder, manifest: Manifest, spec: HandlerSpec, threads: int, device: Device = CPU
) -> HandlerCommand:
    """The command for the archive in `private`, whose environment is built first where there is none yet.

    Raises `ModelNotReady` when the archive's manifest or config can't be read, and what `environment_for` raises.
    """
    label = f"{manifest.name} v{manifest.version}"
    try:
        archive, legacy = _archive_manifest(private.model, spec)
        config = _model_config(private.model, archive)
    except (ValueError, OSError, SourceError) as error:
        raise ModelNotReady(f"{label}: the archive's manifest or config can't be read: {first_line(error)}") from error
    return HandlerCommand(
        python=str(environment_for(private.model, spec.requirements, spec.python)),
        folder=private.path,
        start={
            "kind": "start",
            "server": spec.server,
            "entry": spec.entry,
            "legacy": legacy,
            "model_dir": str(private.model),
            "model_name": spec.properties.get("model_name", manifest.name),
            "manifest": archive,
            "config": config,
            "batch_size": spec.batch_size,
            "gpu_id": 0 if device.kind == "cuda" else None,
        },
        label=label,
        threads=threads,
        start_timeout_s=float(config.get("startupTimeout") or START_TIMEOUT_S),
    )


def _archive_manifest(model_dir: Path, spec: HandlerSpec) -> tuple[Any, bool]:
    """The archive's own, else one of what is known of the version: an archive without any is legal. Beside it, whether
    it is one of MMS 0.4."""
    for name in (MANIFEST, *LEGACY_MANIFESTS):
        if (model_dir / name).is_file():
            found = json.loads((model_dir / name).read_text("utf-8-sig"))
            if name == MANIFEST or (isinstance(found, dict) and "Model" in found):
                return found, name != MANIFEST
    model = {key: spec.properties[name] for name, key in MANIFEST_KEYS.items() if name in spec.properties}
    return {"model": {**model, "handler": spec.entry}}, False


def _model_config(model_dir: Path, archive: Any) -> dict[str, Any]:
    """The archive's `model-config.yaml`, as values that JSON can carry."""
    model = archive.get("model") if isinstance(archive, dict) else None
    name = model.get("configFile") if isinstance(model, dict) else None
    if not name:
        return {}
    plain: dict[str, Any] = json.loads(json.dumps(read_config(model_dir / name, name), default=str))
    return plain
