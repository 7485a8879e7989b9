"""Archives that TorchServe or MXNet Model Server loads, as models of the config."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.archive.services import CustomHandler, service_of
from model_store.archive_manifest import Server
from model_store.archives import Archive, describe_archive, open_archive
from model_store.errors import OnegateError
from model_store.sources import resolve_source
from serve.config_sections.contradictions import ALL_TRAFFIC
from serve.importing.base import ImportedModel, Notes, alias_problem, name_problem, without_empty
from serve.importing.limits import (
    LARGEST_BATCH,
    LARGEST_QUEUE,
    LONGEST_DELAY_MS,
    MOST_REPLICAS,
    deadline_after,
)
from serve.importing.model_server_keys import MODEL_KEYS
from serve.importing.model_server_registrations import Registration

USUAL_VERSION = "1.0"
USUAL_DELAY_MS = 100


@dataclass(frozen=True)
class ServerDefaults:
    """What holds for models that say nothing of it. `workers` and `queue` are None where the file doesn't say."""

    workers: int | None = None
    response_timeout_s: int = 120
    queue: int | None = None


@dataclass(frozen=True)
class _Loaded:
    """A registration with what its archive says."""

    wanted: Registration
    name: str
    version: str
    settings: dict[str, Any]
    server: Server | None
    custom: bool
    """Whether code of the archive's own answers."""
    own_batch_size: int
    """Of its `model-config.yaml`."""
    problem: str | None = None


def whole(value: Any) -> int | None:
    """A whole number of at least 0, of a number or text; None for everything else."""
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None


def told_whole(given: Mapping[str, Any], key: str, notes: Notes) -> int | None:
    """As `whole`, of the value at `key`; one that is there and is no such number is told."""
    value = given.get(key)
    number = whole(value)
    if number is None and value not in (None, ""):
        notes.add(key, f"{value!r:.80} is no whole number of at least 0: it counts as not given")
    return number


def read_models(
    wanted: Iterable[Registration], defaults: ServerDefaults, server_notes: Notes
) -> tuple[list[ImportedModel], Server]:
    """The models by name, and whose archives they are: TorchServe's where none tells."""
    loaded = [_load(each) for each in wanted]
    by_name: dict[str, list[_Loaded]] = {}
    for each in loaded:
        by_name.setdefault(each.name, []).append(each)
    models = [_model(name, versions, defaults, server_notes.file) for name, versions in by_name.items()]
    servers = {each.server for each in loaded if each.server is not None}
    return models, "mms" if servers == {"mms"} else "torchserve"


def _load(wanted: Registration) -> _Loaded:
    path = Path(wanted.archive)
    name, version = wanted.name or path.stem, wanted.version or USUAL_VERSION
    if "://" in wanted.archive:
        return _Loaded(wanted, name, version, wanted.settings, None, custom=False, own_batch_size=1)
    with tempfile.TemporaryDirectory(prefix="onegate-import-") as folder:
        try:
            # Only for its errors, which say better what is wrong with the path than opening the archive would.
            resolve_source(path.name, path.parent, Path(folder))
            archive = describe_archive(path, path.name) if path.is_dir() else open_archive(path, Path(folder) / "a")
            custom = isinstance(service_of(archive), CustomHandler)
        except OnegateError as error:
            return _Loaded(wanted, name, version, {}, None, custom=False, own_batch_size=1, problem=error.message)
        return _described(wanted, archive, custom)


def _described(wanted: Registration, archive: Archive, custom: bool) -> _Loaded:
    manifest, own = archive.manifest, archive.config
    return _Loaded(
        wanted,
        wanted.name or manifest.name or Path(wanted.archive).stem,
        wanted.version or manifest.version or USUAL_VERSION,
        {**own, **wanted.settings} if wanted.final else {**wanted.settings, **own},
        manifest.server,
        custom,
        whole(own.get("batchSize")) or 1,
    )


def _model(name: str, versions: list[_Loaded], defaults: ServerDefaults, file: str) -> ImportedModel:
    notes = Notes(file, name)
    for each in versions:
        notes.unanswered([(key,) for key in each.settings if key in MODEL_KEYS], MODEL_KEYS)
        if each.problem is not None:
            notes.add(each.wanted.key, f"left out: {each.problem}", file=Path(each.wanted.archive).name)
    if problem := name_problem(name):
        return ImportedModel(name, None, notes.left_out(versions[0].wanted.key, problem))
    served = _distinct([each for each in versions if each.problem is None], notes)
    if not served:
        return ImportedModel(name, None, notes.left_out(versions[0].wanted.key, "none of its archives can be served"))
    default = next((each for each in served if each.settings.get("defaultVersion") is True), served[0])
    mapping = {"name": name, **_versions(served, default, notes), **_settings(served, default, defaults, notes)}
    return ImportedModel(name, mapping, tuple(notes.found))


def _distinct(versions: list[_Loaded], notes: Notes) -> list[_Loaded]:
    """One of each version: a second of the same number would be refused by the old server too."""
    kept: dict[str, _Loaded] = {}
    for each in versions:
        if each.version in kept:
            notes.add(each.wanted.key, f"version {each.version} is there already; {each.wanted.archive!r} is left out")
        else:
            kept[each.version] = each
    return list(kept.values())


def _versions(served: list[_Loaded], default: _Loaded, notes: Notes) -> dict[str, Any]:
    listed = []
    for each in served:
        entry: dict[str, Any] = {"source": each.wanted.archive}
        problem = alias_problem(each.version)
        if problem is None:
            entry["as_version"] = each.version
        elif each.server == "torchserve":
            notes.add(f"version {each.version!r}", f"{problem}; it has the store's own number")
        if len(served) > 1 and each is default:
            entry["traffic"] = ALL_TRAFFIC
        listed.append(entry)
    return (
        {"source": listed[0]["source"]} if set(listed[0]) == {"source"} and len(listed) == 1 else {"versions": listed}
    )


def _settings(served: list[_Loaded], default: _Loaded, defaults: ServerDefaults, notes: Notes) -> dict[str, Any]:
    """`handler` and `serve`, as the default version has them: a model's versions share them here."""
    said = default.settings
    for key in ("batchSize", "maxBatchDelay", "minWorkers", "responseTimeout"):
        if any(each.settings.get(key) != said.get(key) for each in served):
            notes.add(key, f"differs between versions; all have that of {default.version}")
    if any(each.custom for each in served):
        notes.needs_trust("handler", "the archive's own code answers")
    size = notes.at_most("batchSize", told_whole(said, "batchSize", notes) or 1, LARGEST_BATCH)
    delay_ms = _delay_ms(said, size, notes)
    timeout_s = told_whole(said, "responseTimeout", notes) or defaults.response_timeout_s
    queue = told_whole(said, "jobQueueSize", notes) or defaults.queue or 0
    batching = {
        "max_batch_size": size if size > 1 else None,
        "max_delay_ms": delay_ms or None,
        "max_queue": notes.at_most("job_queue_size", queue, LARGEST_QUEUE) or None,
    }
    serve = {
        "replicas": _replicas(said, defaults, notes),
        "batching": without_empty(batching),
        "deadline_ms": deadline_after(timeout_s * 1000, delay_ms, "responseTimeout", notes),
    }
    handler = {"batch_size": size} if default.custom and size != default.own_batch_size else {}
    return without_empty({"handler": handler, "serve": without_empty(serve)})


def _delay_ms(said: dict[str, Any], size: int, notes: Notes) -> int:
    """A batch of one waits for nothing."""
    if size == 1:
        return 0
    delay_ms = told_whole(said, "maxBatchDelay", notes)
    return notes.at_most("maxBatchDelay", USUAL_DELAY_MS if delay_ms is None else delay_ms, LONGEST_DELAY_MS)


def _replicas(said: dict[str, Any], defaults: ServerDefaults, notes: Notes) -> int | None:
    least = told_whole(said, "minWorkers", notes)
    most = told_whole(said, "maxWorkers", notes)
    if least == 0:
        notes.add("minWorkers", "0: a model that is listed is served")
    if most is not None and most > max(least or 1, 1):
        notes.add("maxWorkers", f"replicas are as many as `serve.replicas` says; it allowed up to {most}")
    workers = defaults.workers if least is None else least
    return notes.at_most("minWorkers", workers, MOST_REPLICAS) if workers and workers > 1 else None
