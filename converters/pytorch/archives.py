"""Zip archives of PyTorch, as far as it does not matter what is in them: sizes, and writing the vetted members anew."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from model_store.errors import SourceError

ROOT = "vetted"
"""The folder in which a rewritten archive keeps its members."""
LARGEST_ARCHIVE_BYTES = 64 << 30
LARGEST_RATIO = 200
"""PyTorch stores its members as they are; a member that inflates this much is a bomb."""

Vetting = Callable[[zipfile.ZipFile, str], Iterator[tuple[str, bytes]]]
"""The members to keep, by name; raises where one would run code. The text names the source in messages."""


def write_vetted(source: Path, target: Path, vetting: Vetting) -> Path:
    """Writes what `vetting` keeps of `source` to `target` and returns it.

    Raises what `vetting` raises, and `SourceError` when the archive is damaged.
    """
    try:
        with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as clean:
            for name, data in vetting(archive, source.name):
                clean.writestr(name, data)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        # zipfile raises NotImplementedError for an unknown compression and RuntimeError for an encrypted member.
        raise SourceError(f"source {source.name!r} is cut off or damaged: {error}") from error
    return target


def check_vetted(path: Path, vetting: Vetting) -> None:
    """Raises what `vetting` raises, for an archive that is loaded as it is."""
    with zipfile.ZipFile(path) as archive:
        for _ in vetting(archive, path.name):
            pass


def check_sizes(infos: list[zipfile.ZipInfo], source_name: str) -> None:
    """Raises `SourceError` for an archive that unpacks to too much or holds a member twice."""
    if sum(info.file_size for info in infos) > LARGEST_ARCHIVE_BYTES:
        raise SourceError(f"source {source_name!r} unpacks to more than {LARGEST_ARCHIVE_BYTES >> 30} GiB")
    for info in infos:
        if info.file_size > LARGEST_RATIO * max(info.compress_size, 1024):
            raise SourceError(f"source {source_name!r}: member {info.filename!r} inflates suspiciously")
    names = [info.filename for info in infos]
    if len(set(names)) != len(names):
        raise SourceError(f"source {source_name!r} holds a member twice")
