"""Which versions an answer says to have been shadows until the edit that it answers."""

from __future__ import annotations

from typing import Any

from serve.config import Config
from serve.control.desired_edits import Known
from serve.control.desired_state import Edit
from serve.control.ended_shadows import with_ended_shadows
from serve.control.model_documents import Document
from serve.operations import ModelList, ModelStatus, VersionStatus

SHADOWED = [{"version": 1}, {"version": 2, "shadow": True}]
SHARED = [{"version": 1, "traffic": 90}, {"version": 2, "traffic": 10}]
ANSWER = ModelList((ModelStatus("m", tuple(VersionStatus(version=each, state="READY") for each in ("1", "2"))),))


class Asked:
    """Knows what versions are called, and of which models it was asked."""

    def __init__(self) -> None:
        self.models: list[str] = []
        self.known = Known(self._called, lambda model: None, lambda model: ())

    def _called(self, model: str, version: Document) -> str:
        self.models.append(model)
        return str(version["version"])


def config(**versions: list[dict[str, Any]]) -> Config:
    return Config.model_validate({"models": [{"name": name, "versions": each} for name, each in versions.items()]})


def edit_of_m(former: Config, written: Config) -> Edit:
    return Edit(former, written, frozenset({"m"}))


def test_a_shadow_that_gets_a_share_was_one() -> None:
    asked = Asked()
    edit = edit_of_m(config(a=SHADOWED, m=SHADOWED), config(a=SHADOWED, m=SHARED))
    (model,) = with_ended_shadows(ANSWER, edit, asked.known).models
    assert [version.was_shadow for version in model.versions] == [False, True]
    assert set(asked.models) == {"m"}


def test_nothing_is_looked_up_where_the_model_of_the_edit_has_no_shadow() -> None:
    asked = Asked()
    edit = edit_of_m(config(a=SHADOWED, m=SHARED), config(a=SHADOWED, m=[{"version": 1}]))
    assert with_ended_shadows(ANSWER, edit, asked.known) is ANSWER
    assert asked.models == []
