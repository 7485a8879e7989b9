"""The user's own classes and functions, named in the config by import path."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from converters.base import ConversionOptions
from converters.keras.vetting import objects_of
from model_store.errors import ConfigError


def import_custom_objects(options: ConversionOptions) -> dict[str, Any]:
    """Registered name -> class or function, with `options.code_folder` first on the path.

    Raises `ConfigError` for a path that is not `package.module:name`, or that can't be imported.
    """
    with _first_on_path(options.code_folder if options.custom_objects else None):
        return {name: _imported(name, path, options.code_folder) for name, path in options.custom_objects.items()}


@contextlib.contextmanager
def _first_on_path(folder: str | None) -> Iterator[None]:
    if folder is None:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _imported(name: str, path: str, folder: str | None) -> Any:
    module, _, attribute = path.partition(":")
    if not module or not attribute:
        raise ConfigError(f"custom_objects.{name}: expected 'package.module:name', got {path!r}", name=name)
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # whatever the user's module raises
        where = f" (folder {folder!r} is searched first)" if folder else ""
        raise ConfigError(
            f"custom_objects.{name}: module {module!r} can't be imported{where}: {type(error).__name__}: {error}",
            name=name,
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"custom_objects.{name}: module {module!r} has no {attribute!r}", name=name)
        found = getattr(found, part)
    return found


def with_registered_names(custom: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Adds the names with a package that the file uses (`mine>Scale`) for classes given as `Scale`."""
    # Functions have theirs in the place of a config.
    names = {str(item.get(key)) for item in objects_of(config) for key in ("registered_name", "config")}
    full = {name: custom[short] for name in names if ">" in name and (short := name.rpartition(">")[2]) in custom}
    return {**custom, **full}
