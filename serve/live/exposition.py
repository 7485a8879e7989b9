"""Prometheus' text format, read: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

Not by `prometheus_client.parser`: a line that it can't read ends its page, and a page of 1,000 models (13 MB) takes it
2.7 s, here 0.8 s; `onegate top` reads one each second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*")
_LABEL = re.compile(r'\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?')
_ESCAPED = re.compile(r"\\(.)")


class Sample(NamedTuple):
    """One line: its name, with the suffix where it is a histogram's; labels; value."""

    name: str
    labels: dict[str, str]
    value: float


def parse_samples(text: str, prefix: str = "") -> Iterator[Sample]:
    """The samples whose name begins so. Lines that can't be read are left out: others can be."""
    for line in text.splitlines():
        if not line.startswith(prefix) or line.startswith("#"):
            continue
        found = _SAMPLE.fullmatch(line)
        if found is None:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        labels = {name: _unescaped(value) for name, value in _LABEL.findall(found[2] or "")}
        yield Sample(found[1], labels, value)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text) if "\\" in text else text
