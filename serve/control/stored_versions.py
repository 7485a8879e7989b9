"""What the store has of a model's versions, for people who want to know how they came about."""

from __future__ import annotations

from model_store.manifest import Manifest
from model_store.store import Store

LIMIT = 20
"""Versions that are told unless somebody asks for more."""

MOST = 200
"""Versions that are told at most: each is a file to read."""


def stored_manifests(store: Store, model: str, version: int | None = None, limit: int = LIMIT) -> list[Manifest]:
    """The newest `limit` versions, `MOST` at most, newest first, or only `version`; none of a model that was never
    converted. Blocks.

    Raises `ModelNotFound` for a version that is not there, `IntegrityError` for a damaged one, and `StoreError`.
    """
    if version is not None:
        return [store.manifest(model, version)]
    newest_first = store.versions(model)[::-1]
    return [store.manifest(model, number) for number in newest_first[: min(limit, MOST)]]
