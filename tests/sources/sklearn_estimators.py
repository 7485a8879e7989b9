"""Sources of this kind (being written)."""

from tests.sources.table import SourceCase

CASES: list[SourceCase] = []
