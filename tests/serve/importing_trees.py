"""Folders as other servers keep them, written for a test."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import yaml

from serve.importing.base import Imported
from serve.importing.config_text import config_text
from tests.e2e.models import write_multiplier


def write_onnx(path: Path, factor: float = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_multiplier(path, factor)
    return path


def write_saved_model(folder: Path) -> Path:
    """A folder that looks like a SavedModel; nothing reads further here."""
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01")
    return folder


def write_torchscript(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("model/constants.pkl", "model/data.pkl", "model/code/model.py"):
            archive.writestr(name, b"")
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def told(imported: Imported) -> list[tuple[str | None, str, str]]:
    """Model, file and key of all that has no counterpart."""
    return [(each.model, each.file, each.key) for each in imported.all_leftovers()]


def served(imported: Imported) -> dict[str, dict[str, Any]]:
    """The config's models by name, as its YAML has them."""
    return {model["name"]: model for model in yaml.safe_load(config_text(imported, None))["models"]}
