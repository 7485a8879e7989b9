"""The models that a reload call of TensorFlow Serving lists, as the config has them: all that are to be served.

Looks into folders, in threads, which a dialect may not; its message is read field by field and knows no protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from model_store.errors import InvalidInput
from serve.importing.tensorflow_base_paths import models_of
from serve.importing.versions import ALL_VERSIONS, VersionPolicy
from serve.operations import ReplaceModels


async def replacement(config: Any) -> ReplaceModels:
    """The operation that a `ModelServerConfig` stands for. Base paths are folders of the gateway's machine.

    Raises `InvalidInput` for a config that is no list of models, `SourceError` for a base path without versions,
    `ConfigError` for a label of a version that is not loaded.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise InvalidInput("expected a model_config_list; other configs are not taken")
    listed = list(config.model_config_list.config)
    return ReplaceModels(models=tuple([await asyncio.to_thread(_model, each) for each in listed]))


def _model(config: Any) -> Mapping[str, Any]:
    if not config.name or not config.base_path:
        raise InvalidInput(f"model {config.name!r:.60}: expected a name and a base_path")
    labels = dict(sorted(config.version_labels.items()))
    return models_of(config.name, config.base_path, _policy(config.name, config.model_version_policy), labels)


def _policy(name: str, policy: Any) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return ALL_VERSIONS
    if choice == "specific":
        if not policy.specific.versions:
            raise InvalidInput(f"model {name!r}: expected at least one specific version, got none")
        return VersionPolicy(specific=tuple(policy.specific.versions))
    return VersionPolicy(latest=policy.latest.num_versions or 1)
