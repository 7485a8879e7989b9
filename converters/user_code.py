"""The user's own code that a config names by import path: factories of modules, custom classes and functions."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

from model_store.errors import ConfigError


@contextlib.contextmanager
def first_on_path(folder: str | None) -> Iterator[None]:
    """Imports look into `folder` first."""
    if folder is None:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def import_named(key: str, path: str, folder: str | None) -> Any:
    """What `path`, as `package.module:name`, names; `folder` is searched first and `key` of the config said it.

    Raises `ConfigError` for a path of another form, or one that can't be imported.
    """
    module, _, attribute = path.partition(":")
    if not module or not attribute:
        raise ConfigError(f"{key}: expected 'package.module:name', got {path!r}", key=key)
    with first_on_path(folder):
        try:
            found: Any = importlib.import_module(module)
        except Exception as error:  # whatever the user's module raises
            where = f" (folder {folder!r} is searched first)" if folder else ""
            raise ConfigError(
                f"{key}: module {module!r} can't be imported{where}: {type(error).__name__}: {error}", key=key
            ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{key}: module {module!r} has no {attribute!r}", key=key)
        found = getattr(found, part)
    return found
