"""Which versions a model asks for, where its config leaves that to the store: `versions: all` and `{latest: N}`."""

from __future__ import annotations

from model_store.errors import ModelNotFound
from model_store.store import Store
from serve.config_sections.contradictions import ALL_TRAFFIC
from serve.config_sections.model import ModelConfig, VersionConfig
from serve.config_sections.store_versions import StoreVersions


def follows_store(model: ModelConfig) -> bool:
    """Whether versions join it, or leave it, as the store has them."""
    return isinstance(model.versions, StoreVersions)


def numbers_in_store(store: Store, model: ModelConfig) -> list[int]:
    """The versions that a model now takes which follows the store, ascending. Blocks; raises `StoreError`."""
    return model.versions.of(store.versions(model.name)) if isinstance(model.versions, StoreVersions) else []


def asked_versions(store: Store, model: ModelConfig) -> list[VersionConfig]:
    """The versions that the model asks for, each with its traffic in percent. Of those that the store decides about,
    the newest gets all. Blocks; raises `StoreError`, and `ModelNotFound` where it has none."""
    if not follows_store(model):
        return model.wanted_versions()
    numbers = numbers_in_store(store, model)
    if not numbers:
        raise ModelNotFound(
            f"model {model.name!r} takes its versions from store {store.url!r}, which has none; publish one with "
            f"`onegate convert SOURCE --name {model.name}`",
            model=model.name,
        )
    return [VersionConfig(version=n, traffic=ALL_TRAFFIC if n == numbers[-1] else 0) for n in numbers]
