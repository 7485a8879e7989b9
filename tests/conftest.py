"""What has to be set before any test module is imported, and an empty store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_store.store import Store

# As the command does it: ONNX Runtime would otherwise keep telemetry of its use.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))
