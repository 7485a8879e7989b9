"""The user's own classes and functions, named in the config by import path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from converters.base import ConversionOptions
from converters.keras.vetting import objects_of
from converters.user_code import import_named


def import_custom_objects(options: ConversionOptions) -> dict[str, Any]:
    """Registered name -> class or function, with `options.code_folder` first on the path.

    Raises `ConfigError` for a path that is not `package.module:name`, or that can't be imported.
    """
    return {
        name: import_named(f"custom_objects.{name}", path, options.code_folder)
        for name, path in options.custom_objects.items()
    }


def with_registered_names(custom: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Adds the names with a package that the file uses (`mine>Scale`) for classes given as `Scale`."""
    # Functions have theirs in the place of a config.
    names = {str(item.get(key)) for item in objects_of(config) for key in ("registered_name", "config")}
    full = {name: custom[short] for name in names if ">" in name and (short := name.rpartition(">")[2]) in custom}
    return {**custom, **full}
