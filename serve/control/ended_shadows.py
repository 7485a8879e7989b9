"""Which versions were shadows until an edit: who gives one a share of the calls is told that it is none any more."""

from __future__ import annotations

import msgspec

from serve.config import Config
from serve.control.desired_edits import Known
from serve.control.desired_state import Edit
from serve.control.model_documents import versions_of
from serve.operations import ModelList, ModelStatus


def with_ended_shadows(answer: ModelList, edit: Edit, known: Known) -> ModelList:
    """The answer to what made the edit, with `was_shadow` where it ended a shadow."""
    # Not a look at a thousand models for the edit of one.
    former, written = (config.of_models(edit.models) for config in (edit.former, edit.written))
    if not any(version.shadow for model in former.models for version in model.wanted_versions()):
        return answer
    before, after = _shadows(former, known), _shadows(written, known)
    ended = {key for key, is_shadow in before.items() if is_shadow and after.get(key) is False}
    return ModelList(tuple(_marked(model, ended) for model in answer.models)) if ended else answer


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
