"""The model configuration that a load may bring, Triton's `ModelConfig` as JSON, as keys of onegate's config.

What becomes of each key, `serve/importing` knows; here a key that has no counterpart is refused by name, so that nobody
believes it in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from model_store.errors import ConfigError
from serve.dialects.open_inference import is_number
from serve.importing.base import Notes
from serve.importing.text_format import MAX_DEPTH, Message, Value, Word
from serve.importing.triton_keys import KEYS, PLATFORMS, REFUSED_BACKENDS
from serve.importing.triton_model import inputs, serve_section

WHERE = "config"

_WIDE = frozenset(
    ("dims", "shape", "versions", "max_queue_delay_microseconds", "default_timeout_microseconds"),
)
"""Fields of 64 bits, which JSON made from protobuf writes as text."""

_UNSERVED = {
    "ensemble_scheduling": REFUSED_BACKENDS["ensemble"],
    "sequence_batching": "the model keeps a state between requests, which none here does",
}

_TOLD = ("output ", "response_cache.enable")
"""Notes that say how something is done, not that it is not."""


def settings_of(text: str, model: str, version: str | None) -> dict[str, Any]:
    """The keys of `model` in the config that the configuration in `text` sets; `version` is that of the files that came
    with it, None where none did.

    Fields that say what they would without being there (0, false, empty) set nothing. Raises `ConfigError` for text
    that is no configuration, and for every key that can't be honoured, all of them in one message, and `SourceError`
    for a value of another kind than its key's.
    """
    try:
        given = msgspec.json.decode(text, type=dict[str, Any])
        config = _message(given, 0)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ConfigError(f"{WHERE}: expected the JSON text of a model configuration: {error!s:.200}") from error
    notes = Notes(WHERE, model)
    backend = config.text("backend") or PLATFORMS.get(config.text("platform"), config.text("platform"))
    for key, reason in _UNSERVED.items():
        if given.get(key) is not None:
            notes.add(key, reason)
    _refuse_unserved(config, model, backend, version, notes)
    notes.unanswered(config.leaves(), KEYS)
    settings = {**(inputs(config, backend, notes) if version else {}), **serve_section(config, notes)}
    refused = [note for note in notes.found if not note.key.startswith(_TOLD)]
    if refused:
        lines = "; ".join(f"{note.key}: {note.reason}" for note in refused)
        raise ConfigError(f"{WHERE}: not everything can be had: {lines}")
    return _as_named(settings, given)


def _message(given: Mapping[str, Any], depth: int) -> Message:
    if depth > MAX_DEPTH:
        raise ConfigError(f"{WHERE}: at most {MAX_DEPTH} levels of objects")
    message = Message(WHERE)
    for name, value in given.items():
        if not value:
            continue
        values = [_value(name, each, depth) for each in (value if isinstance(value, list) else [value])]
        kept = [each for each in values if not isinstance(each, Message) or each.fields]
        if kept:
            message.fields[name] = kept
    return message


def _value(name: str, value: Any, depth: int) -> Value:
    if isinstance(value, dict):
        return _message(value, depth + 1)
    if isinstance(value, bool):
        return Word(str(value).lower())
    if isinstance(value, str) and name in _WIDE and is_number(value.removeprefix("-")):
        return int(value)
    if isinstance(value, str | int | float):
        return value
    raise ConfigError(f"{WHERE}: {name}: expected text, a number, true, false, an object or a list of such")


def _refuse_unserved(config: Message, model: str, backend: str, version: str | None, notes: Notes) -> None:
    if backend in REFUSED_BACKENDS:
        notes.add("backend", REFUSED_BACKENDS[backend])
    if config.text("name", model) != model:
        notes.add("name", f"expected {model!r}, the model that is loaded, got {config.text('name')!r:.60}")
    policy = config.message("version_policy")
    versions = [str(number) for number in policy.message("specific").numbers("versions")]
    if versions not in ([], [version]) or policy.message("latest").number("num_versions", 1) != 1:
        notes.add("version_policy", "a load brings one version; list several under `versions` in the config")
    if version and any("label_filename" in output for output in config.messages("output")):
        notes.add("output.label_filename", "labels can't come with a load; say `labels` in the config")


def _as_named(settings: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` with what the configuration's sections say by leaving it out, and replicas out of the gateway."""
    serve: dict[str, Any] = {**settings.get("serve", {})}
    if "dynamic_batching" in given:
        serve["batching"] = {"max_delay_ms": 0.0, "preferred_batch_sizes": [], **serve.get("batching", {})}
    if "instance_group" in given:
        serve["replicas"] = serve.get("replicas", 1)
    if serve.get("replicas", 1) > 1:
        serve["executor"] = "replicas"
    return {**settings, "serve": serve} if serve else settings
