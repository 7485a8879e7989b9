"""What every mapping of the config has in common."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict


def absolute_path(path: str, folder: Path) -> str:
    """`path` from `folder` on; URLs with a scheme stay as they are, `~` is the home folder."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path):
        return path
    return os.path.abspath(folder / os.path.expanduser(path))


class Section(BaseModel):
    """A mapping of the config: no unknown keys, no silent conversion, no later change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    PATHS: ClassVar[tuple[str, ...]] = ()
    """Keys that hold the path of a file or folder, or a URL, or a list of them."""
    COMMANDS: ClassVar[tuple[str, ...]] = ()
    """Keys that hold a command: by its path, or by a bare name, which is looked up where it runs."""

    def resolved(self, folder: Path) -> Self:
        """A copy in which all paths, of the sections inside too, are absolute, from `folder` on. URLs stay."""
        return self.model_copy(update={key: self._resolved(key, value, folder) for key, value in self})

    def _resolved(self, key: str, value: Any, folder: Path) -> Any:
        if isinstance(value, Section):
            return value.resolved(folder)
        if isinstance(value, list):
            return [self._resolved(key, item, folder) for item in value]
        if value is not None and (key in self.PATHS or (key in self.COMMANDS and "/" in value)):
            return absolute_path(value, folder)
        return value
