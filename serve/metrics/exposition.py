"""Prometheus's text format, version 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/).

Written here and not by prometheus-client: its counters all end in `_total`, which Triton's do not, and a page of many
models takes it several times as long.
"""

from __future__ import annotations

from collections.abc import Sequence

from serve.metrics.names import FAMILIES, Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Page:
    """One answer to `GET /metrics`, put together metric by metric."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {family.name: [] for family in FAMILIES}

    def add(self, family: Family, labels: Sequence[str], value: float) -> None:
        """A value of a counter or gauge, with a label for each of the family's names."""
        text = _labels(family, labels)
        self._lines[family.name].append(
            f"{family.name}{{{text}}} {_number(value)}" if text else f"{family.name} {_number(value)}"
        )

    def add_histogram(
        self, family: Family, labels: Sequence[str], bounds: Sequence[float], counts: Sequence[int], total: float
    ) -> None:
        """A histogram: how many fell into each bucket alone, one more than there are `bounds`, and the sum of all."""
        lines, name, text = self._lines[family.name], family.name, _labels(family, labels)
        so_far = 0
        for bound, count in zip(bounds, counts, strict=False):
            so_far += count
            lines.append(f'{name}_bucket{{{text},le="{_number(bound)}"}} {so_far}')
        so_far += counts[-1]
        lines.append(f'{name}_bucket{{{text},le="+Inf"}} {so_far}')
        lines.append(f"{name}_sum{{{text}}} {_number(total)}")
        lines.append(f"{name}_count{{{text}}} {so_far}")

    def encoded(self) -> bytes:
        """The body. Metrics without a value are left out."""
        parts = []
        for family in FAMILIES:
            if lines := self._lines[family.name]:
                parts.append(f"# HELP {family.name} {_help(family.help)}\n# TYPE {family.name} {family.kind}\n")
                parts.append("\n".join(lines) + "\n")
        return "".join(parts).encode()


def _labels(family: Family, values: Sequence[str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(family.label_names, values, strict=True))


def _escaped(value: str) -> str:
    if value.isidentifier():
        return value
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) or not value.is_integer() else str(int(value))
