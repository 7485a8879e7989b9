"""Blocks of the documentation that need no gateway, page by page; others are run by `tests/e2e/test_quickstart.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages.blocks import PAGES, ROOT, blocks_of, page_name
from tests.pages.story import Story


def _runnable(page: Path) -> bool:
    kinds = {block.kind for block in blocks_of(page)}
    return "run" in kinds and "gateway" not in kinds


@pytest.mark.parametrize("page", [page for page in PAGES if _runnable(page)], ids=page_name)
def test_page_runs_as_it_is_written(page: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = [block for block in blocks_of(page) if block.kind in ("run", "file")]
    Story(tmp_path, {"PYTHONPATH": str(ROOT), "ONEGATE_CACHE": str(tmp_path / "cache")}).run(blocks)
