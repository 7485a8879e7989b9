"""Where the values of a config come from: the file, the environment over it, the command line over both.

Puts the layers on top of one another; what keys there are and what they admit is for others.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from model_store.errors import ConfigError
from serve.config_sections.keys import ConfigKey
from serve.config_sections.mistakes import unknown_key
from serve.config_sections.section import absolute_path
from serve.config_sections.source import ConfigSource, KeyPath, Mistake
from serve.config_sections.yaml_text import read_config_text, read_scalar

COMMAND_LINE = "command line"

Keys = Mapping[str, ConfigKey]


def read_config_file(path: Path) -> ConfigSource:
    """The values in the file at `path`; raises `ConfigError` when it is missing or holds no mapping."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise _unreadable(path, "no such file" + _neighbours(path)) from error
    except IsADirectoryError as error:
        raise _unreadable(path, "is a folder; name the YAML file in it") from error
    except UnicodeDecodeError as error:
        raise _unreadable(
            path, f"expected UTF-8 text, got byte 0x{error.object[error.start]:02x} at {error.start}"
        ) from error
    except OSError as error:
        raise _unreadable(path, f"can't be read: {error.strerror}") from error
    return read_config_text(text, str(path))


def _unreadable(path: Path, problem: str) -> ConfigError:
    message = f"{path}: {problem}"
    return ConfigError(message, mistakes=[message])


def _neighbours(path: Path) -> str:
    """The likeliest names in the same folder, or the configs in it."""
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.is_file())
    except OSError:
        return f"; the folder {path.parent} can't be read either"
    configs = [name for name in names if name.endswith((".yaml", ".yml", ".json"))]
    if near := difflib.get_close_matches(path.name, names, n=1) or configs[:3]:
        return f"; did you mean {' or '.join(repr(str(path.parent / name)) for name in near)}?"
    return ""


def with_environment(source: ConfigSource, keys: Keys, environ: Mapping[str, str]) -> ConfigSource:
    """`source` with the `ONEGATE_...` variables that are set and not empty over it.

    Other variables are passed over: Kubernetes makes `ONEGATE_GATEWAY_PORT` of a service `onegate-gateway`.
    """
    for key in keys.values():
        if key.environment and (text := environ.get(key.environment)):
            source = source.with_setting(_path(key), _setting(key, text), key.environment)
    return source


def with_overrides(source: ConfigSource, keys: Keys, overrides: Mapping[str, Any]) -> ConfigSource:
    """`source` with values by key path over it; None is passed over, an unknown key is a mistake."""
    settings = {path: key for path, key in keys.items() if key.environment}
    for path, value in overrides.items():
        if value is None:
            continue
        if key := settings.get(path):
            source = source.with_setting(_path(key), _setting(key, value), COMMAND_LINE)
        else:
            mistake = Mistake(COMMAND_LINE, 0, tuple(path.split(".")), unknown_key(path, settings))
            source = replace(source, mistakes=(*source.mistakes, mistake))
    return source


def _path(key: ConfigKey) -> KeyPath:
    return tuple(key.path.split("."))


def _setting(key: ConfigKey, value: Any) -> Any:
    """A text as its key wants it: paths from the working folder on, numbers as numbers."""
    if not isinstance(value, str):
        return value
    if key.is_path:
        return absolute_path(value, Path.cwd())
    return value if key.item == "text" else read_scalar(value)
