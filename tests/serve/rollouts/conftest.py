"""What tests of rollouts share."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_store.store import Store
from tests.serve.administered import convert, export


@pytest.fixture
def sources(tmp_path: Path) -> dict[int, str]:
    """By version of `m` the export that it was converted from; version n multiplies by n."""
    found = {}
    for number in (1, 2, 3):
        found[number] = str(export(tmp_path / f"{number}.onnx", number))
        convert(Store.open(str(tmp_path / "store")), found[number], "m")
    return found
