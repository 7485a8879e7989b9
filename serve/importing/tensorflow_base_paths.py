"""TensorFlow Serving: base paths with numbered SavedModels, listed in a `models.config` or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_store.errors import ConfigError, OnegateError, SourceError
from model_store.filesystems import local_path
from serve.importing.base import ImportedModel, Notes, label_problem, name_problem
from serve.importing.sources import source_in
from serve.importing.versions import VersionPolicy, version_folders, versions_mapping

PROGRAMS = ("saved_model.pb", "saved_model.pbtxt", "model.tflite")
"""Of which a version's folder holds one."""
LATEST = VersionPolicy()


def models_of(name: str, base_path: str, policy: VersionPolicy, labels: Mapping[str, int]) -> dict[str, Any]:
    """The config of the model `name` whose versions lie in the folder `base_path`: `{name, versions: [{source,
    as_version, label?, traffic?}]}`, in ascending order; the largest version answers by default. A version's folder
    holds a SavedModel, or one file of any kind that is served here.

    Raises `SourceError` where it holds no version that the policy picks, or one that can't be served; `ConfigError` for
    a label of a version that is not picked. Whether the sources may be served is found out later, so that no error here
    says what else lies there.
    """
    sources = {number: _source(name, number, folder) for number, folder in _picked(name, base_path, policy).items()}
    for label, number in labels.items():
        if number not in sources:
            loaded = ", ".join(map(str, sources))
            raise ConfigError(
                f"model {name!r}: label {label!r} is for version {number}, which is not loaded; loaded: {loaded}"
            )
    return versions_mapping(name, sources, labels)


def _source(name: str, number: int, folder: Path) -> str:
    try:
        return str(source_in(folder))
    except (SourceError, OSError) as error:
        raise SourceError(
            f"model {name!r}: the folder of version {number} holds no model that can be served, or several; `onegate "
            "import` of the base path tells more"
        ) from error


def _picked(name: str, base_path: str, policy: VersionPolicy) -> dict[int, Path]:
    try:
        found = version_folders(_local(name, base_path))
    except OSError as error:
        raise SourceError(f"model {name!r}: base path {base_path!r:.200} can't be read: {error.strerror}") from error
    numbers = policy.pick(found)
    if not numbers:
        raise SourceError(
            f"model {name!r}: expected version folders such as {base_path}/1, found none that the version policy picks"
        )
    return {number: found[number] for number in numbers}


def _local(name: str, base_path: str) -> Path:
    try:
        local = local_path(base_path)
    except OSError as error:
        raise SourceError(f"model {name!r}: base path: {error}") from error
    if local is None:
        raise SourceError(
            f"model {name!r}: base path {base_path!r} is no folder of this machine; list its versions in a config"
        )
    return local


def is_base_path(folder: Path) -> bool:
    """Whether `folder` holds a version with a SavedModel."""
    return any((version / name).is_file() for version in version_folders(folder).values() for name in PROGRAMS)


def read_model(
    name: str, base_path: str, notes: Notes, policy: VersionPolicy = LATEST, labels: Mapping[str, int] | None = None
) -> ImportedModel:
    """The model whose versions lie in `base_path`, with what has no counterpart in `notes`."""
    if problem := name_problem(name):
        return ImportedModel(name, None, notes.left_out("name", problem))
    try:
        present = version_folders(_local(name, base_path))
        picked = _picked(name, base_path, policy)
    except OnegateError as error:
        return ImportedModel(name, None, notes.left_out("base_path", error.message))
    for number in policy.absent(present):
        notes.add("model_version_policy.specific.versions", f"version {number} has no folder")
    sources = {}
    for number, folder in picked.items():
        try:
            sources[number] = str(source_in(folder))
        except SourceError as error:
            notes.add(f"version {number}", f"left out: {error.message}")
    if not sources:
        return ImportedModel(name, None, notes.left_out("base_path", "none of its versions can be served"))
    kept = _kept_labels(labels or {}, sources, notes)
    return ImportedModel(name, versions_mapping(name, sources, kept), tuple(notes.found))


def _kept_labels(labels: Mapping[str, int], sources: Mapping[int, str], notes: Notes) -> dict[str, int]:
    loaded = {}
    for label, number in labels.items():
        problem = label_problem(label)
        if problem is None and number not in sources:
            problem = f"version {number} is not served"
        if problem is None:
            loaded[label] = number
        else:
            notes.add(f"version_labels[{label}]", problem)
    return loaded
