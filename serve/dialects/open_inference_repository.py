"""The `model_repository` extension for HTTP and gRPC: index, load and unload as operations on models.

There is one store here, whatever name a caller has for the repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_store.errors import InvalidInput
from serve.dialects.open_inference import is_number
from serve.dialects.open_inference_settings import settings_of
from serve.operations import LoadModel, ModelList, UnloadModel, VersionStatus

FILE = "file:"
"""What the parameters begin with that carry a file."""

STATES: Mapping[str, str] = {
    "READY": "READY",
    "IDLE": "READY",
    "CONVERTING": "LOADING",
    "LOADING": "LOADING",
    "DRAINING": "UNLOADING",
}
"""A state of a version's life -> the protocol's; all others are UNAVAILABLE. An idle version answers when called."""

_UNLOADED = "unloaded"


def index_document(models: ModelList, *, only_ready: bool = False) -> list[dict[str, str]]:
    """The protocol's index: an entry a version, with the model's name, and `reason` and `version` where there are
    some."""
    entries = [_entry(model.model, version) for model in models.models for version in model.versions]
    return [entry for entry in entries if entry["state"] == "READY" or not only_ready]


def load_operation(model: str, parameters: Mapping[str, Any]) -> LoadModel:
    """What the parameters of a load ask for; the values at `file:<version>/<path>` are bytes.

    Raises `InvalidInput` for a parameter that the protocol has not or a path that leaves the version, `ConfigError` for
    what a `config` says and can't be had.
    """
    files: dict[str, bytes] = {}
    version: str | None = None
    for key, content in parameters.items():
        if key.startswith(FILE):
            number, path = _place(key)
            if version not in (None, number):
                raise InvalidInput(f"files of one version are loaded at a time, got {version} and {number}")
            if not isinstance(content, bytes):
                raise InvalidInput(f"parameter {key!r:.80} is the bytes of a file")
            version = number
            files[path] = content
        elif key != "config":
            raise InvalidInput(f"a load has the parameters 'config' and '{FILE}<version>/<name>', got {key!r:.40}")
    config = parameters.get("config")
    if config is not None and not isinstance(config, str):
        raise InvalidInput("parameter 'config' is the JSON text of a model configuration")
    if files and config is None:
        raise InvalidInput(f"'{FILE}' needs the parameter 'config' beside it")
    settings = {} if config is None else settings_of(config, model, version)
    return LoadModel(model=model, files=_without_folder(files), version=version, settings=settings)


def unload_operation(model: str, parameters: Mapping[str, Any]) -> UnloadModel:
    """What the parameters of an unload ask for, which does not wait for memory to be free; raises `InvalidInput`.

    No model here depends on another, so `unload_dependents` changes nothing.
    """
    for key, value in parameters.items():
        if key != "unload_dependents" or not isinstance(value, bool):
            raise InvalidInput(f"an unload has the parameter 'unload_dependents', true or false, got {key!r:.40}")
    return UnloadModel(model=model, wait=False)


def _entry(model: str, status: VersionStatus) -> dict[str, str]:
    state = STATES.get(status.state, "UNAVAILABLE")
    entry = {"name": model, "state": state, "reason": status.reason or ""}
    if status.version:
        entry["version"] = status.version
    if status.state in ("STORED", "RETIRED") and not status.reason:
        entry["reason"] = _UNLOADED
    return entry


def _place(key: str) -> tuple[str, str]:
    """Version and path inside it of `file:<version>/<path>`."""
    version, _, path = key.removeprefix(FILE).partition("/")
    segments = path.split("/")
    if not is_number(version) or any(part in ("", ".", "..") for part in segments) or {"\\", "\0"} & set(path):
        raise InvalidInput(f"expected '{FILE}<version>/<name>' with a path inside the version, got {key!r:.80}")
    return str(int(version)), path


def _without_folder(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files without the folder that all lie in, as `model.savedmodel/`: the export is what the folder holds."""
    folders = {path.partition("/")[0] for path in files}
    if len(folders) != 1 or any("/" not in path for path in files):
        return files
    return {path.partition("/")[2]: content for path, content in files.items()}
