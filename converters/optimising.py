"""Saved graph optimisation (first version, being written)."""

from __future__ import annotations

from pathlib import Path


def save_optimised(model: Path, folder: Path) -> Path | None:
    """Not yet."""
    return None
