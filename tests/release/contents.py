"""What a wheel has to hold: each tracked file of the packages, and nothing beside them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

PACKAGES = ("serve/", "converters/", "model_store/")
LEFT_OUT = (
    "serve/console/source/",  # what serve/console/dist is made from
    "serve/handler_child/ruff.toml",
)


def missing_and_stray(wheel: Path, tracked: Iterable[str]) -> str:
    """What is wrong with the wheel's files, in words; empty for nothing."""
    wanted = {name for name in tracked if name.startswith(PACKAGES) and not name.startswith(LEFT_OUT)}
    with zipfile.ZipFile(wheel) as archive:
        present = {name for name in archive.namelist() if ".dist-info/" not in name}
    wrong = {"lacks": sorted(wanted - present), "has beside the packages' files": sorted(present - wanted)}
    return "; ".join(f"{word} {', '.join(names)}" for word, names in wrong.items() if names)
