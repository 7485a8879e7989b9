"""What edits need to know beside the config, from desired state in force and its store."""

from __future__ import annotations

from serve.control.desired_edits import Known
from serve.control.desired_state import DesiredState
from serve.control.model_documents import Document, versions_of


def known_models(desired: DesiredState) -> Known:
    """As `Known` says. Reads the store when it is asked for what is there only; for threads."""

    def called(model: str, version: Document) -> str | None:
        if alias := version.get("as_version"):
            return str(alias)
        found = number(model, version)
        return None if found is None else str(found)

    def number(model: str, version: Document) -> int | None:
        if (written := version.get("version")) is not None:
            return int(written)
        made = (wanted for wanted in desired.fleet.wanted(model) if wanted.source == version["source"])
        return next((wanted.entry.key[1] for wanted in made), None)

    def following(model: str) -> list[Document]:
        prepared = desired.prepared.get(model)
        return [] if prepared is None else versions_of(prepared.document)

    return Known(called, desired.earlier, desired.store.versions, number, following)
