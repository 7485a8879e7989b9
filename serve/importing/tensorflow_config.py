"""TensorFlow Serving's files: `models.config`, and the batching parameters beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serve.importing.base import (
    TAKEN,
    Fate,
    Imported,
    ImportedModel,
    Leftover,
    Notes,
    needless,
    unanswered,
    without,
    without_empty,
)
from serve.importing.limits import LARGEST_BATCH, LARGEST_QUEUE, LONGEST_DELAY_MS
from serve.importing.sources import located
from serve.importing.tensorflow_base_paths import is_base_path, read_model
from serve.importing.text_format import Message, read_text_format
from serve.importing.versions import policy_of

CONFIG = "models.config"
BATCHING = ("batching_parameters.txt", "batching_parameters.config", "batching.config")
"""Usual names of the file that `--batching_parameters_file` names."""
PORTS = {"http_port": 8501, "grpc_port": 8500}
_REMARKS = (
    "TensorFlow Serving's usual ports: its command line may have said others",
    "TensorFlow Serving listens on every address: `host: 0.0.0.0` does so here",
)
_HEAD_BYTES = 1 << 16

KEYS: dict[str, Fate] = {
    "name": TAKEN,
    "base_path": TAKEN,
    "model_platform": needless("a model's framework is told from its content"),
    "model_type": needless("a model's framework is told from its content"),
    "model_version_policy": TAKEN,
    "version_labels": TAKEN,
    "logging_config": without("requests are not logged with their contents"),
}
"""Of a model in `models.config`."""

BATCHING_KEYS: dict[str, Fate] = {
    "max_batch_size": TAKEN,
    "batch_timeout_micros": TAKEN,
    "max_enqueued_batches": TAKEN,
    "allowed_batch_sizes": TAKEN,
    "num_batch_threads": needless(
        "each model runs on threads of its own; `serve.cpus` and `serve.replicas` say how many"
    ),
    "thread_pool_name": needless("there is no shared pool of threads"),
    "pad_variable_length_inputs": without("requests of different shapes are kept in batches of their own"),
    "enable_large_batch_splitting": needless("a request larger than a batch is always split"),
    "max_execution_batch_size": without("`max_batch_size` is the size of what runs"),
}


def detects(path: Path) -> bool:
    """Whether `path` is a `models.config` or a folder that holds one, a base path, or a folder of base paths."""
    if path.is_file():
        with path.open("rb") as file:
            return path.suffix in (".config", ".txt", ".conf") and b"model_config_list" in file.read(_HEAD_BYTES)
    if not path.is_dir():
        return False
    return (path / CONFIG).is_file() or is_base_path(path) or any(is_base_path(each) for each in path.iterdir())


def read(path: Path) -> Imported:
    """What `models.config` lists, else each base path under its folder's name in its newest version.

    Raises `SourceError` for a file that can't be read.
    """
    config = path if path.is_file() else path / CONFIG
    batching, leftovers = _batching(config.parent)
    models, others = _listed(config) if config.is_file() else (_found(path), [])
    for model in models:
        if model.mapping is not None and batching:
            model.mapping["serve"] = {"batching": dict(batching)}
    return Imported("TensorFlow Serving", dict(PORTS), models, [*leftovers, *others], _REMARKS)


def _found(path: Path) -> list[ImportedModel]:
    folders = [path] if is_base_path(path) else sorted(each for each in path.iterdir() if is_base_path(each))
    return [read_model(each.name, str(each), Notes(each.name, each.name)) for each in folders]


def _listed(config: Path) -> tuple[list[ImportedModel], list[Leftover]]:
    message = read_text_format(config, config.name)
    others = list(unanswered(message.leaves(), _TOP_KEYS, config.name))
    listed = message.message("model_config_list").messages("config")
    return [_model(each, config) for each in listed], others


_TOP_KEYS: dict[str, Fate] = {
    "model_config_list.config": TAKEN,
    "custom_model_config": without("a loader of its own"),
}


def _model(message: Message, config: Path) -> ImportedModel:
    name = message.text("name")
    notes = Notes(config.name, name)
    notes.unanswered(message.leaves(), KEYS)
    labels = {label: entry.number("value") for label, entry in message.entries("version_labels").items()}
    base_path = _here(message.text("base_path"), config.parent, notes)
    return read_model(name, base_path, notes, policy_of(message.message("model_version_policy")), labels)


def _here(base_path: str, folder: Path, notes: Notes) -> str:
    """Where the base path is on this machine."""
    found = located(base_path, folder)
    if found is None:
        return base_path
    if found != (folder / base_path).resolve():
        notes.add("base_path", f"{base_path!r} is taken to be {str(found)!r}")
    return str(found)


def _batching(folder: Path) -> tuple[dict[str, Any], list[Leftover]]:
    """`serve.batching` of all models, and what of the file has no counterpart."""
    file = next((folder / name for name in BATCHING if (folder / name).is_file()), None)
    if file is None:
        return {}, []
    message, notes = read_text_format(file, file.name), Notes(file.name)
    notes.unanswered(message.leaves(), BATCHING_KEYS)
    size = notes.at_most("max_batch_size", _wrapped(message, "max_batch_size"), LARGEST_BATCH)
    delay = notes.at_most("batch_timeout_micros", _wrapped(message, "batch_timeout_micros"), LONGEST_DELAY_MS * 1000)
    batches = _wrapped(message, "max_enqueued_batches")
    batching = {
        "max_batch_size": size or None,
        "max_delay_ms": delay / 1000 or None,
        "preferred_batch_sizes": [size for size in message.numbers("allowed_batch_sizes") if 0 < size <= LARGEST_BATCH],
        "max_queue": notes.at_most("max_enqueued_batches", batches * (size or 1), LARGEST_QUEUE) or None,
    }
    return without_empty(batching), notes.found


def _wrapped(message: Message, name: str) -> int:
    """A number in a message of its own, as `max_batch_size { value: 8 }`; 0 where there is none."""
    return message.message(name).number("value")
