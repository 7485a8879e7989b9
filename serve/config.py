"""The typed config: one model of the YAML, the source of its JSON schema and of its reference page.

`load_config` reads a file and what overrides it, `parse_config` reads text that came over the wire. Both
raise one `ConfigError` with every mistake. What a config wants done is the controller's matter.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from serve.config_sections.access import AccessConfig
from serve.config_sections.contradictions import contradictions
from serve.config_sections.gateway import GatewayConfig
from serve.config_sections.keys import ConfigKey, keys_of
from serve.config_sections.layers import COMMAND_LINE, read_config_file, with_environment, with_overrides
from serve.config_sections.logs import LoggingConfig
from serve.config_sections.mistakes import CONTRADICTION, config_error, translate
from serve.config_sections.model import ModelConfig
from serve.config_sections.rules import Filled
from serve.config_sections.section import Section
from serve.config_sections.signing import SigningConfig
from serve.config_sections.source import ConfigSource, KeyPath, render_path
from serve.config_sections.store import StoreCacheConfig
from serve.config_sections.tracing import TracingConfig
from serve.config_sections.yaml_text import read_config_text


class Config(Section):
    """The config of onegate: the full desired state."""

    PATHS = ("store",)

    store: Filled = Field(default="./store", description="Folder or URL of the model store.")
    store_cache: StoreCacheConfig = Field(
        default=StoreCacheConfig(), description="Files of a remote store that are kept on each node."
    )
    signing: SigningConfig = Field(default=SigningConfig(), description="Which versions may be served at all.")
    gateway: GatewayConfig = Field(
        default=GatewayConfig(), description="Where the endpoint listens and what it admits."
    )
    access: AccessConfig = Field(default=AccessConfig(), description="Who may ask what.")
    tracing: TracingConfig = Field(default=TracingConfig(), description="Where traces of requests go, and of which.")
    logging: LoggingConfig = Field(default=LoggingConfig(), description="Log lines of all processes.")
    allowed_sources: list[Filled] = Field(
        default=["file://*"],
        description="Patterns of paths and URLs that management calls may register models from; `*` is any text.",
    )
    trusted_sources: list[Filled] = Field(
        default=[],
        description="Patterns, as above, of the sources whose own code may run when management calls register them, as "
        "an archive's handler; by default none.",
    )
    models: list[ModelConfig] = Field(description="All models that are served; one that is not listed is retired.")

    @model_validator(mode="after")
    def _without_contradictions(self) -> Self:
        found = list(contradictions(self.document(), default_values()))
        if found:
            lines = "; ".join(f"{render_path(path)}: {problem}" for path, problem in found)
            raise PydanticCustomError(CONTRADICTION, "{lines}", {"lines": lines})
        return self

    def document(self) -> dict[str, Any]:
        """The full state as JSON has it, defaults included; `Config.model_validate` reads it back."""
        return self.model_dump(mode="json", exclude_none=True)

    def of_models(self, names: Collection[str]) -> Config:
        """The config with none but the models of these names."""
        return self.model_copy(update={"models": [model for model in self.models if model.name in names]})


def config_keys() -> dict[str, ConfigKey]:
    """All keys by path, as `models[].serve.cpus`."""
    return keys_of(Config)


def default_values() -> dict[str, Any]:
    """Default by path, of all keys."""
    return {path: key.default for path, key in config_keys().items()}


def load_config(
    path: Path | None,
    *,
    overrides: Mapping[str, Any] = MappingProxyType({}),
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """The config in the file at `path`, with absolute paths; None is one without models, in the working folder.

    `overrides` come from the command line, by key path as `gateway.http_port`; None is passed over. They win
    over the environment (`ONEGATE_...`), which wins over the file. Relative paths start from the file's
    folder, those of overrides and environment from the working folder.

    Raises `ConfigError` with all mistakes.
    """
    if path is None:
        source, folder = read_config_text("models: []", COMMAND_LINE), Path.cwd()
    else:
        source, folder = read_config_file(path), Path(os.path.abspath(path)).parent
    return layered(source, folder, overrides=overrides, environ=environ)


def layered(
    source: ConfigSource,
    folder: Path,
    *,
    overrides: Mapping[str, Any] = MappingProxyType({}),
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """The config in `source`, which lies in `folder`, with environment and `overrides` over it as in `load_config`.

    Raises `ConfigError` with all mistakes.
    """
    source = with_environment(source, config_keys(), environ)
    source = with_overrides(source, config_keys(), overrides)
    return _typed(source).resolved(folder)


def parse_config(text: str, name: str, base: Path) -> Config:
    """The config in `text`, YAML or JSON, with absolute paths from the folder `base` on.

    `name` stands for the text in messages. Neither the environment nor the command line has a say.
    Raises `ConfigError` with all mistakes.
    """
    return _typed(read_config_text(text, name)).resolved(base)


def config_of(document: Mapping[str, Any], name: str, called: Mapping[KeyPath, str] = MappingProxyType({})) -> Config:
    """The config that `document` holds, with paths as they stand there. In messages `name` stands for it, and what is
    `called` something for the place that it has.

    Raises `ConfigError` with all mistakes.
    """
    return _typed(ConfigSource(name, document, called=called))


def _typed(source: ConfigSource) -> Config:
    clashes = contradictions(source.value, default_values())
    mistakes = [*source.mistakes, *(source.mistake(path, problem) for path, problem in clashes)]
    config = None
    try:
        config = Config.model_validate(source.value)
    except ValidationError as error:
        noted = {(mistake.place, mistake.path) for mistake in source.mistakes}
        found = translate(error, source, config_keys())
        mistakes += [mistake for mistake in found if (mistake.place, mistake.path) not in noted]
    if config is None or mistakes:
        raise config_error(mistakes, source.name)
    return config
