"""Java's properties files, as `config.properties`: `key=value` lines that a backslash continues.

Follows the description of `java.util.Properties.load`.
"""

from __future__ import annotations

import re
from pathlib import Path

from model_store.archive_manifest import read_bounded

LARGEST_FILE_BYTES = 8 << 20

_PAIR = re.compile(r"((?:\\.|[^\\=:\s])*)[ \t\f]*[=:]?[ \t\f]*(.*)", re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}


def read_properties(path: Path, where: str) -> dict[str, str]:
    """The pairs in the file at `path`; of a repeated key the last counts. Raises `SourceError` for a file that can't
    be read or is larger than 8 MiB."""
    return parse_properties(read_bounded(path, LARGEST_FILE_BYTES, where).decode("utf-8", "replace"))


def parse_properties(text: str) -> dict[str, str]:
    """The pairs in `text`."""
    pairs = {}
    for line in _logical_lines(text):
        match = _PAIR.fullmatch(line)
        assert match is not None  # the pattern takes any text
        pairs[_unescaped(match[1])] = _unescaped(match[2]).rstrip()
    return pairs


def _logical_lines(text: str) -> list[str]:
    lines: list[str] = []
    open_line: str | None = None
    for raw in re.split(r"\r\n|\r|\n", text):
        part = raw.lstrip(" \t\f")
        if open_line is None and (not part or part[0] in "#!"):
            continue
        joined = (open_line or "") + part
        trailing = len(joined) - len(joined.rstrip("\\"))
        if trailing % 2:
            open_line = joined[:-1]
        else:
            open_line = None
            lines.append(joined)
    return lines if open_line is None else [*lines, open_line]


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: _character(found[1]), text)


def _character(escape: str) -> str:
    return chr(int(escape[1:], 16)) if len(escape) == 5 else _CONTROLS.get(escape, escape)
