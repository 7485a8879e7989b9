"""Reads what a Keras file says of itself: the layers as JSON, the version of Keras and the backend that wrote it.

Nothing is built here, and Keras is not imported. Whether the config may be built is `vetting.py`'s concern.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from converters.headers import read_head, zip_members
from model_store.errors import SourceError

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
LARGEST_CONFIG_BYTES = 64 << 20
WEIGHTS = ("model.weights.h5", "model.weights.json", "model.weights.npz")

Kind = Literal["archive", "folder", "hdf5"]


@dataclass(frozen=True)
class KerasFile:
    """The readable half of a Keras file."""

    kind: Kind
    config: Any
    """The serialised model."""
    keras_version: str
    """As '2.4.0'; '1' where the file does not say."""
    backend: str | None
    """As 'theano'; known of `.h5` files only."""

    @property
    def generation(self) -> int:
        """The first number of the version of Keras."""
        first = self.keras_version.split(".", 1)[0]
        return int(first) if first.isdigit() else 1


def kind_of(source: Path) -> Kind | None:
    """How the file holds a model; None when it is none of Keras's. Looks at first bytes and the list of members."""
    if source.is_dir():
        return "folder" if _is_archive({path.name for path in source.iterdir()}) else None
    if read_head(source, len(HDF5_MAGIC)) == HDF5_MAGIC:
        return "hdf5"
    return "archive" if _is_archive(set(zip_members(source))) else None


def _is_archive(members: set[str]) -> bool:
    return "config.json" in members and any(name in members for name in WEIGHTS)


def read_keras_file(source: Path) -> KerasFile:
    """Raises `SourceError` when the file is damaged, or holds weights without the model that they belong to."""
    kind = kind_of(source)
    try:
        if kind == "hdf5":
            return _read_hdf5(source)
        config, metadata = _read_folder(source) if kind == "folder" else _read_archive(source)
        if isinstance(config, dict):
            # The user's losses and metrics, which nobody builds to serve a model.
            config.pop("compile_config", None)
        version = metadata.get("keras_version") if isinstance(metadata, dict) else None
        return KerasFile(kind or "archive", config, str(version or "3"), None)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, OSError, RecursionError) as error:
        raise SourceError(f"source {source.name!r} is cut off or damaged: {error}") from error


def _read_archive(source: Path) -> tuple[Any, Any]:
    with zipfile.ZipFile(source) as archive:
        members = {}
        for name in ("config.json", "metadata.json"):
            if name in archive.namelist():
                members[name] = _parse(archive.getinfo(name).file_size, lambda name=name: archive.read(name), source)
    return members["config.json"], members.get("metadata.json")


def _read_folder(source: Path) -> tuple[Any, Any]:
    def read(name: str) -> Any:
        path = source / name
        return _parse(path.stat().st_size, path.read_bytes, source) if path.is_file() else None

    return read("config.json"), read("metadata.json")


def _parse(size_bytes: int, read: Any, source: Path) -> Any:
    if size_bytes > LARGEST_CONFIG_BYTES:
        raise SourceError(f"source {source.name!r}: its config holds {size_bytes} bytes; expected at most 64 MiB")
    return json.loads(read())


def _read_hdf5(source: Path) -> KerasFile:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(source, "r") as file:
        _refuse_links(file, source)
        config = file.attrs.get("model_config")
        if config is None:
            _refuse_without_model(file, source)
        text = _text(config)
        return KerasFile(
            "hdf5",
            _parse(len(text), lambda: text, source),
            _attribute(file, "keras_version") or "1",
            _attribute(file, "backend"),
        )


def _refuse_links(file: Any, source: Path) -> None:
    """HDF5 can name other files as the place of its data; a model of Keras never does."""
    import h5py

    waiting, seen = [file], set()
    while waiting:
        group = waiting.pop()
        place = h5py.h5o.get_info(group.id).addr
        if place in seen:  # a group may hold itself
            continue
        seen.add(place)
        for name in group:
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise SourceError(f"source {source.name!r}: its member {name!r} points into another file")
            member = group.get(name)
            if isinstance(member, h5py.Group):
                waiting.append(member)
            elif isinstance(member, h5py.Dataset) and (member.external or member.is_virtual):
                raise SourceError(f"source {source.name!r}: the data of its member {name!r} lies in another file")


def _refuse_without_model(file: Any, source: Path) -> None:
    names = set(file)
    weights = (
        names & {"layers", "_layer_checkpoint_dependencies", "vars", "model_weights"} or "layer_names" in file.attrs
    )
    if weights:
        raise SourceError(
            f"source {source.name!r} holds weights only, without the model that they belong to; build the model, "
            "load_weights() into it, and save the whole with model.save('model.keras')"
        )
    found = ", ".join(sorted(names)[:5]) or "nothing"
    raise SourceError(f"source {source.name!r} is an HDF5 file of {found}; expected a Keras model (model.save)")


def _attribute(file: Any, name: str) -> str | None:
    """Keras 2 keeps it at the root or at the weights, as text or as bytes."""
    for holder in (file, file.get("model_weights")):
        if holder is not None and name in holder.attrs:
            return _text(holder.attrs[name])
    return None


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
