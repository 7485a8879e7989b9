"""A model of the config pinned: each of its versions by its number in the store, whatever its sources hold later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from serve.config_sections.model import ModelConfig
from serve.control.model_documents import Document, labels_of
from serve.control.wanted import Wanted


@dataclass(frozen=True)
class Prepared:
    """A model as it was last prepared: pinned, and the generation that asked for it."""

    document: dict[str, Any]
    generation: int
    by: str


def pinned(model: ModelConfig, wanted: Iterable[Wanted]) -> dict[str, Any]:
    """The model with the versions that are `wanted` of it, as JSON has it. Two sources that gave the same version are
    one there."""
    document = model.model_dump(mode="json", exclude_none=True, exclude={"source", "versions"})
    versions: dict[int, dict[str, Any]] = {}
    # A shadow of what answers anyway is none.
    for each in sorted(wanted, key=lambda each: each.shadow_percent > 0):
        number = each.entry.key[1]
        if each.shadow_percent and number not in versions:
            entry = versions[number] = {"version": number, "shadow": True, "shadow_percent": each.shadow_percent}
        else:
            entry = versions.setdefault(number, {"version": number, "traffic": 0})
            entry["traffic"] = entry.get("traffic", 0) + each.traffic
        if each.labels:
            entry["label"] = [*entry.get("label", []), *each.labels]
        if each.alias is not None:
            entry.setdefault("as_version", each.alias)
    return document | {"versions": list(versions.values())}


def summary(document: Document) -> str:
    """What a pinned model serves, for people: `version 2 (stable) 90%, version 3 10%`."""
    return ", ".join(_version_text(version) for version in document["versions"])


def _version_text(version: Document) -> str:
    labels = f" ({', '.join(labels_of(version))})" if labels_of(version) else ""
    called = f" as {version['as_version']}" if "as_version" in version else ""
    share = f"{version['shadow_percent']}% copied" if version.get("shadow") else f"{version.get('traffic', 0)}%"
    return f"version {version['version']}{called}{labels} {share}"
