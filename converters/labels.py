"""Names of classes from a file that the config names: a line each (`synset.txt`), or `index_to_name.json`."""

from __future__ import annotations

from pathlib import Path

from model_store.archive_files import read_index, read_synset
from model_store.errors import ConfigError, SourceError


def read_labels(path: Path) -> tuple[str, ...]:
    """The names in the order of the model's scores, by the rules of archives; raises `ConfigError`."""
    where = f"labels: {path.name!r}"
    reader = read_index if path.suffix.lower() == ".json" else read_synset
    try:
        labels = reader(path, where)
    except SourceError as error:
        raise ConfigError(error.message) from error
    if not labels:
        raise ConfigError(f"{where} is empty; expected the name of a class a line")
    return labels
