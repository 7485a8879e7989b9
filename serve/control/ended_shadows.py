"""Which versions were shadows until an edit: who gives one a share of the calls is told that it is none any more."""

from __future__ import annotations

import msgspec

from serve.config import Config
from serve.control.desired_edits import Known
from serve.control.model_documents import versions_of
from serve.operations import ModelList, ModelStatus


def with_ended_shadows(changed: ModelList, former: Config, written: Config, known: Known) -> ModelList:
    """The answer to what made `written` of `former`, with `was_shadow` where it ended one."""
    before, after = (_shadows(config, known) for config in (former, written))
    ended = {key for key, is_shadow in before.items() if is_shadow and after.get(key) is False}
    return ModelList(tuple(_marked(model, ended) for model in changed.models)) if ended else changed


def _marked(model: ModelStatus, ended: set[tuple[str, str]]) -> ModelStatus:
    versions = (
        msgspec.structs.replace(version, was_shadow=(model.model, version.version) in ended)
        for version in model.versions
    )
    return ModelStatus(model.model, tuple(versions))


def _shadows(config: Config, known: Known) -> dict[tuple[str, str], bool]:
    """Whether each version is one, by its model and what clients call it by."""
    return {
        (model["name"], called): bool(version.get("shadow"))
        for model in config.document()["models"]
        for version in versions_of(model)
        if (called := known.called(model["name"], version))
    }
