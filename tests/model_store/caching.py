"""A process that takes a file from the node's cache, which can be made to die. Its store is a file beside."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from model_store.filesystems import chunks
from model_store.manifest import FileEntry
from model_store.node_cache import NodeCache
from tests.model_store.publishing import die_at_call


def download(source: Path, log: Path, pause_s: float = 0.0) -> Iterator[bytes]:
    """The bytes of `source`; a line in `log` tells that they were asked for."""
    with log.open("a") as lines:
        lines.write("downloaded\n")
    with source.open("rb") as stream:
        for chunk in chunks(stream):
            time.sleep(pause_s)
            yield chunk


def main(cache: str, source: str, sha256: str, target: str, die_at: str, pause_s: str) -> None:
    path = Path(source)
    entry = FileEntry(sha256, path.stat().st_size)
    if int(die_at):
        die_at_call(int(die_at))
    content = lambda: download(path, path.with_suffix(".log"), float(pause_s))  # noqa: E731
    assert NodeCache(Path(cache), 1 << 30).place(entry, Path(target), content)


if __name__ == "__main__":
    main(*sys.argv[1:])
