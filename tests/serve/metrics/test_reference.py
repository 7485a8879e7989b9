"""The page of metrics lists what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve.metrics.names import FAMILIES
from serve.metrics.reference import renewed

PAGE = Path(__file__).parents[3] / "docs/metrics.md"


def test_the_page_has_the_table_as_it_is() -> None:
    page = PAGE.read_text()
    assert renewed(page) == page, "run: python -m serve.metrics.reference docs/metrics.md"
    assert all(f"| `{family.name}` | {family.kind} |" in page for family in FAMILIES)


def test_a_page_without_a_place_for_the_table_is_left_alone() -> None:
    with pytest.raises(ValueError, match="expected"):
        renewed("# Metrics")
