"""Does a command answer as the page shows? Words have to be the same; what differs between machines may differ.

Numbers may differ in their last digits; times, releases of libraries and the columns' widths at will; paths in their
folders. A line `...` stands for any lines.
"""

from __future__ import annotations

import math
import re

_MEASURED_BESIDE = re.compile(r" \(not optimised beforehand: [^)]*\)")  # said where it is slower, which differs
_TIME = re.compile(r"\b\d+(?:\.\d+)?(?:e-?\d+)? (?:s|ms|KiB|MiB)\b")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00|Z)?")
_RELEASE = re.compile(r"(?<![\d.])\d+\.\d+\.\d+(?![\d.])")
_FOLDER = re.compile(r"(?<![\w:/.])(?:/[\w.+-]+)+/(?=[\w.+-]+)")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
REL, ABS = 2e-3, 2e-5
"""Frameworks' kernels differ by 1e-6 or so between processors; errors of that size mean nothing in themselves."""


def unlike(shown: str, came: str) -> str | None:
    """None if `came` is what `shown` says, else the first line of `shown` that has no counterpart."""
    expected, lines = _lines(shown), _lines(came)
    at, anywhere = 0, False
    for line in expected:
        if line == "...":
            anywhere = True
            continue
        candidates = range(at, len(lines)) if anywhere else range(at, min(at + 1, len(lines)))
        found = next((number for number in candidates if _same(line, lines[number])), None)
        if found is None:
            return line
        at, anywhere = found + 1, False
    return None if anywhere or at == len(lines) else f"(nothing more, but came: {lines[at]})"


def _lines(text: str) -> list[str]:
    for pattern, word in (
        (_MEASURED_BESIDE, ""),
        (_TIME, "TIME"),
        (_MOMENT, "MOMENT"),
        (_RELEASE, "RELEASE"),
        (_FOLDER, "/"),
    ):
        text = pattern.sub(word, text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _same(shown: str, came: str) -> bool:
    """Equal words between equal numbers."""
    if _NUMBER.split(shown) != _NUMBER.split(came):
        return False
    pairs = zip(_NUMBER.findall(shown), _NUMBER.findall(came), strict=True)
    return all(a == b or math.isclose(float(a), float(b), rel_tol=REL, abs_tol=ABS) for a, b in pairs)
