"""Archives given to their converter alone: what it makes of one, and with what it refuses another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converters.archive.converter import ArchiveConverter
from converters.base import Conversion, ConversionOptions
from model_store.errors import SourceError
from tests.sources.archives_writing import Files, write_zip


def convert(tmp_path: Path, files: Files, **options: Any) -> Conversion:
    """The conversion of an archive of these files."""
    source = write_zip(tmp_path / "net.mar", files)
    workdir = tmp_path / "work"
    workdir.mkdir()
    return ArchiveConverter().convert(source, ConversionOptions(**options), workdir)


def refusal(tmp_path: Path, files: Files, **options: Any) -> str:
    """The one line with which it is refused."""
    with pytest.raises(SourceError) as caught:
        convert(tmp_path, files, **options)
    assert "\n" not in caught.value.message
    return caught.value.message
