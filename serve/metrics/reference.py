"""The table of metrics in `docs/metrics.md`, from the names: `python -m serve.metrics.reference PAGE` renews it."""

from __future__ import annotations

import sys
from pathlib import Path

from serve.metrics.names import FAMILIES

BEGIN = "<!-- from serve/metrics/names.py -->"
END = "<!-- to here -->"


def renewed(page: str) -> str:
    """The page with the table as it is now; raises `ValueError` for one that has no place for it."""
    head, begin, rest = page.partition(BEGIN)
    _, end, foot = rest.partition(END)
    if not end:
        raise ValueError(f"expected {BEGIN} and {END} in the page")
    return "".join((head, begin, "\n", _table(), end, foot))


def _table() -> str:
    lines = ["| Metric | Kind | Labels | Meaning |", "| --- | --- | --- | --- |"]
    for family in FAMILIES:
        labels = ", ".join(f"`{name}`" for name in family.label_names)
        lines.append(f"| `{family.name}` | {family.kind} | {labels} | {family.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.write_text(renewed(place.read_text()))
