"""A model of the config as a mapping: its versions, what operations may set of it, and whose code may run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from model_store.errors import Forbidden
from serve.control.allowed_sources import matches

Document = Mapping[str, Any]
"""A mapping of the config, as JSON has it."""

SETTABLE = (
    *("framework", "inputs", "processor", "serve", "handler.batch_size"),
    *("convert.to", "convert.on_failure", "convert.precision", "convert.parity"),
)
"""The keys of a model that an operation may set. The others name files, commands or code, or allow code to run: whoever
wrote the config decides about those."""


def versions_of(model: Document) -> list[Document]:
    """Its versions as mappings; a model with `source` has one, one that takes what the store has lists none."""
    listed = model.get("versions")
    if isinstance(listed, list):
        return listed
    return [{"source": model["source"]}] if "source" in model else []


def labels_of(version: Document) -> list[str]:
    """The labels of a version as written: one may stand alone."""
    written = version.get("label") or []
    return [written] if isinstance(written, str) else list(written)


def with_traffic(version: Document, percent: int | None) -> dict[str, Any]:
    """The version with this traffic, none where nothing is said of it. A shadow that gets any is one no more."""
    if version.get("shadow") and not percent:
        return dict(version)
    without = {key: value for key, value in version.items() if key not in ("shadow", "shadow_percent")}
    return without | {"traffic": percent or 0}


def with_settings(model: Document, settings: Document) -> Document:
    """The model with `settings` over what it says; raises `Forbidden` for keys that only the config sets."""
    for path in _leaves(settings):
        if not any(path == key or path.startswith(f"{key}.") for key in SETTABLE):
            raise Forbidden(f"{path!r:.80} of a model can be set in the config only; here: {', '.join(SETTABLE)}")
    return merged(model, settings)


def _leaves(settings: Document, prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in settings.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else [f"{prefix}{key}"]
    return found


def merged(mapping: Document, changes: Document) -> Document:
    """`changes` over `mapping`, section by section; None takes a key back to its default."""
    result = dict(mapping)
    for key, value in changes.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(value, Mapping) and isinstance(inner, Mapping) else value
        if value is None:
            del result[key]
    return result


def with_trust(trusted_sources: Iterable[str], before: Document | None, model: Document) -> Document:
    """The model with `trust: true` or false. It covers all of a model's sources, so that it is there only where each
    was allowed to bring code: by the model `before`, or by the patterns. Raises `Forbidden` for a new source that would
    take it from the others."""
    had = bool(before and before.get("trust"))
    allowed = _sources(before) if before and had else set()
    sources = _sources(model)
    if before is None and "trust" in model:
        return model
    trust = all(source in allowed or matches(source, trusted_sources) for source in sources) if sources else had
    if had and not trust:
        raise Forbidden(
            f"model {model['name']!r} says `trust: true`, and nobody trusts the new source; add a pattern of it to "
            "`trusted_sources` in the config, or give the model another name",
            model=model["name"],
        )
    return {**model, "trust": trust}


def _sources(model: Document) -> set[str]:
    return {version["source"] for version in versions_of(model) if "source" in version}
