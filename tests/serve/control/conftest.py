"""Exports of models that a store has versions of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.serve.administered import converted


@pytest.fixture
def two(tmp_path: Path) -> str:
    """An export that is converted already: it is version 1 of `m` and `n`."""
    return converted(tmp_path, 2, "m", "n")


@pytest.fixture
def three(tmp_path: Path, two: str) -> str:
    """Another: version 2 of both."""
    return converted(tmp_path, 3, "m", "n")
