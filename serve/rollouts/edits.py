"""Rollouts as edits of desired state: traffic, labels, and going back to what was served.

Pure, as `serve/control/desired_edits.py`. A version is named as clients call it, else by its number in the store.
"""

from __future__ import annotations

from typing import Any

from model_store.errors import ModelNotFound
from serve.config import Config
from serve.control.desired_edits import Known, required, with_model, with_versions
from serve.control.model_documents import Document, labels_of, versions_of, with_traffic
from serve.operations import SetLabels, SetTraffic


def set_traffic(config: Config, operation: SetTraffic, known: Known) -> Config:
    """The config with these percents; raises `ModelNotFound`, and `ConfigError` where they don't add up to 100."""
    model = required(config, operation.model, known)
    shares: dict[int, int] = {}
    for version, percent in operation.traffic.items():
        model, index = _with_version(model, version, known)
        shares[index] = percent
    versions = [with_traffic(version, shares.get(i)) for i, version in enumerate(versions_of(model))]
    return with_model(config, with_versions(model, versions))


def set_labels(config: Config, operation: SetLabels, known: Known) -> Config:
    """The config with these labels moved or taken away; raises `ModelNotFound`, for a label too that is to go and is
    not there."""
    model = required(config, operation.model, known)
    present = {label for version in versions_of(model) for label in labels_of(version)}
    for label, version in operation.labels.items():
        if version is None and label not in present:
            listed = ", ".join(sorted(present)) or "none"
            raise ModelNotFound(f"model {operation.model!r} has no label {label!r:.80}; labels: {listed}", label=label)
        index = None
        if version is not None:
            model, index = _with_version(model, version, known)
        model = with_versions(model, [_relabelled(v, label, i == index) for i, v in enumerate(versions_of(model))])
    return with_model(config, model)


def rolled_back(config: Config, document: Document) -> Config:
    """The config with the model as a record of what was served has it."""
    return with_model(config, document)


def _with_version(model: Document, version: str, known: Known) -> tuple[Document, int]:
    """The model and the place of the version in it, which comes from the store where the model lacks it."""
    name, versions = model["name"], versions_of(model)
    called = [known.called(name, each) for each in versions]
    if version in called:
        return model, called.index(version)
    numbers = [str(known.number(name, each)) for each in versions]
    if version in numbers:
        return model, numbers.index(version)
    stored = [str(number) for number in known.stored(name)]
    if version not in stored:
        here = ", ".join(text for text in called if text) or "none yet"
        raise ModelNotFound(
            f"model {name!r} has no version {version:.40}; served by the config: {here}; in the store: "
            f"{', '.join(stored) or 'none'}",
            model=name,
            version=version,
        )
    return with_versions(model, [*versions, {"version": int(version)}]), len(versions)


def _relabelled(version: Document, label: str, here: bool) -> dict[str, Any]:
    """The version with the label, or without it."""
    labels = [each for each in labels_of(version) if each != label] + [label] * here
    without = {key: value for key, value in version.items() if key != "label"}
    return without | ({"label": labels} if labels else {})
