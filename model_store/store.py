"""The store: immutable, numbered versions of models, whole or absent.

    <store>/models/<name>/<version>/manifest.json
    <store>/blobs/sha256/<hex>
    <store>/tmp/                                    files being written; never read

Files are content-addressed blobs (`blobs.py`); the manifest that names them is written last and only if
absent, so that two publishers at once get different numbers. How bytes get to disk is left to the file system
below (`filesystems.py`, `local.py`), desired state to `generations.py`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Self

import msgspec

from model_store.blobs import Blobs
from model_store.errors import ConfigError, IntegrityError, ModelNotFound, StoreError
from model_store.filesystems import (
    FileSystem,
    digest_file,
    is_inside,
    local_path,
    reason,
    store_access,
)
from model_store.local import LocalFileSystem
from model_store.manifest import FileEntry, Manifest, decode_manifest, encode_manifest
from model_store.node_cache import NodeCache
from model_store.remote import RemoteFileSystem

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Store:
    """The versions at `url`: a path, or any URL that fsspec knows. Creating one makes no access.

    `cache` keeps what is checked out of a remote store; a local one needs none. Every method raises `StoreError` when
    the store can't be read or written.
    """

    def __init__(self, url: str, cache: NodeCache | None = None) -> None:
        self.filesystem = _filesystem(url)
        self.url = self.filesystem.url
        self._blobs = Blobs(self.filesystem, cache if isinstance(self.filesystem, RemoteFileSystem) else None)

    @classmethod
    def open(cls, url: str) -> Self:
        """The store at `url`, created if absent, and proven to be writable."""
        store = cls(url)
        with store_access(store.filesystem, "written"):
            store.filesystem.prepare()
        return store

    def models(self) -> list[str]:
        """Names of the models that have a version, sorted."""
        with store_access(self.filesystem, "read"):
            names = self.filesystem.names("models")
        return [name for name in names if self.versions(name)]

    def versions(self, name: str) -> list[int]:
        """Numbers of the whole versions of `name`, ascending; empty for a model that isn't there."""
        if not MODEL_NAME.fullmatch(name):
            return []
        with store_access(self.filesystem, "read"):
            numbers = sorted(map(int, filter(_is_number, self.filesystem.names(f"models/{name}"))))
            return [n for n in numbers if self.filesystem.size_bytes(_manifest_path(name, n)) is not None]

    def manifest(self, name: str, version: int) -> Manifest:
        """The manifest of a version.

        Raises `ModelNotFound`, which names the versions that exist, and `IntegrityError` for a manifest that
        can't be decoded or is of another version.
        """
        return self._found(name, version)[0]

    def manifest_bytes(self, name: str, version: int) -> bytes:
        """The manifest as it is stored; raises as `manifest` does."""
        return self._found(name, version)[1]

    def find(self, name: str, key: str) -> Manifest | None:
        """The version of `name` that was made with `key`, None when there is none."""
        return self._find(name, key, self.versions(name))

    def publish(self, manifest: Manifest, files: Mapping[str, Path]) -> Manifest:
        """Stores `files` (name in the version -> local file) as the next version of `manifest.name`.

        Returns the manifest with `version` and `files` filled. When the model has a version of the same key,
        that one is returned, and those of its blobs that were lost or damaged are mended from equal `files`.
        Raises `ConfigError` for a name that no model can have, `StoreError` otherwise.
        """
        _check_names(manifest.name, files)
        taken = self.versions(manifest.name)
        known = self._find(manifest.name, manifest.key, taken)
        entries = {name: _entry(name, path) for name, path in files.items()}
        for name, entry in entries.items():
            if known is None or known.files.get(name) == entry:
                self._blobs.put(files[name], entry)
        published = known or self._commit(msgspec.structs.replace(manifest, files=entries), taken)
        for name, entry in entries.items():
            if published.files.get(name) == entry:
                # From now on nobody prunes it; who had looked before may have done so.
                self._blobs.restore(files[name], entry)
        return published

    def read(self, entry: FileEntry) -> bytes:
        """The bytes of a file; `IntegrityError` when they are lost or differ from the entry's digest."""
        return b"".join(self._blobs.chunks("a file", entry))

    def check(self, manifest: Manifest) -> None:
        """Reads every file of the version; `IntegrityError` names the first that is lost or differs."""
        for name, entry in manifest.files.items():
            for _ in self._blobs.chunks(f"file {name!r}", entry):
                pass

    def checkout(self, manifest: Manifest, folder: Path) -> Path:
        """Puts the version's files under their own names in `folder`, creating it, and returns it.

        They are read-only: hard links to the blobs where the store is on the same file system, else copies.
        Files that are there already and right are kept, so several processes may check out to one folder.
        Raises `IntegrityError`, which names the file, when its bytes differ from its digest.
        """
        for name in manifest.files:
            if not is_inside(name):
                raise IntegrityError(
                    f"file name {name!r} of {manifest.name} v{manifest.version} leads out of its folder; the "
                    f"manifest in store {self.url!r} was tampered with",
                    file=name,
                )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, entry in manifest.files.items():
                self._blobs.place(name, entry, folder / name)
        except OSError as error:
            raise StoreError(
                f"{manifest.name} v{manifest.version} can't be checked out to {str(folder)!r}: "
                f"{reason(error)}; mend that, or name another folder",
                folder=str(folder),
            ) from error
        return folder

    def _found(self, name: str, version: int) -> tuple[Manifest, bytes]:
        found = self._found_if_present(name, version) if MODEL_NAME.fullmatch(name) else None
        if found is None:
            raise self._not_found(name, version)
        return found

    def _found_if_present(self, name: str, version: int) -> tuple[Manifest, bytes] | None:
        try:
            with store_access(self.filesystem, "read"):
                data = self.filesystem.read(_manifest_path(name, version))
        except StoreError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                return None
            raise
        try:
            manifest = decode_manifest(data)
            if (manifest.name, manifest.version) != (name, version):
                raise ValueError(f"it says {manifest.name} v{manifest.version}")
        except ValueError as error:
            raise IntegrityError(
                f"manifest of {name} v{version} in store {self.url!r} is damaged: {error}; publish it again",
                model=name,
                version=version,
            ) from error
        return manifest, data

    def _not_found(self, name: str, version: int) -> ModelNotFound:
        versions = self.versions(name)
        if versions:
            more = "..., " if len(versions) > 10 else ""
            advice = f"it has {more}{', '.join(map(str, versions[-10:]))}"
        else:
            near = difflib.get_close_matches(name, self.models(), n=3)
            advice = f"did you mean {' or '.join(map(repr, near))}?" if near else "it has no version of that model"
        return ModelNotFound(
            f"no version {version} of {name!r} in store {self.url!r}; {advice}",
            model=name,
            version=version,
            versions=versions,
        )

    def _find(self, name: str, key: str, versions: list[int]) -> Manifest | None:
        """Newest first. A manifest that can't be decoded has no key that could match."""
        for version in reversed(versions):
            with suppress(IntegrityError):
                found = self._found_if_present(name, version)
                if found is not None and found[0].key == key:
                    return found[0]
        return None

    def _commit(self, manifest: Manifest, taken: list[int]) -> Manifest:
        """Writes the manifest under the first free number after `taken`.

        All rivals climb the same numbers, so one of the same key that won since is met on the way.
        """
        for version in count(max(taken, default=0) + 1):
            numbered = msgspec.structs.replace(manifest, version=version)
            try:
                with store_access(self.filesystem, "written"):
                    self.filesystem.create(_manifest_path(manifest.name, version), encode_manifest(numbered))
                return numbered
            except StoreError as error:
                if not isinstance(error.__cause__, FileExistsError):
                    raise
            if rival := self._find(manifest.name, manifest.key, [version]):
                return rival
        raise AssertionError("unreachable: the numbers don't end")


def _filesystem(url: str) -> FileSystem:
    try:
        path = local_path(url)
        return RemoteFileSystem(url) if path is None else LocalFileSystem(path)
    except OSError as error:
        raise StoreError(f"store {url!r} can't be opened: {reason(error)}", store=url) from error


def _is_number(name: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]*", name) is not None


def _manifest_path(name: str, version: int) -> str:
    return f"models/{name}/{version}/manifest.json"


def _check_names(name: str, files: Mapping[str, Path]) -> None:
    if not MODEL_NAME.fullmatch(name):
        raise ConfigError(
            f"model name {name!r}: expected at most 200 of letters, digits, '.', '_' and '-', "
            "the first a letter or digit",
            model=name,
        )
    for file in files:
        if not is_inside(file):
            raise StoreError(f"file name {file!r} of {name!r}: expected a relative path without '..'", file=file)


def _entry(name: str, path: Path) -> FileEntry:
    try:
        return FileEntry(sha256=digest_file(path), size=path.stat().st_size)
    except OSError as error:
        raise StoreError(f"file {name!r} to publish: {str(path)!r} can't be read: {reason(error)}") from error
