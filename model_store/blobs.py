"""The bytes of versions: content-addressed files, `blobs/sha256/<hex>`, checked whenever they are read.

Which blobs make a version is left to the manifests (`store.py`).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from model_store.errors import IntegrityError, StoreError
from model_store.filesystems import (
    DigestMismatchError,
    FileSystem,
    digest_file,
    store_access,
    verified_chunks,
)
from model_store.local import write_file
from model_store.manifest import FileEntry
from model_store.node_cache import NodeCache

GRACE_S = 24 * 3600.0
"""How old a blob that nothing names must be before it is removed: its publisher may still be at work."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The blobs of one store. Methods raise `StoreError` when it can't be read or written."""

    def __init__(self, filesystem: FileSystem, cache: NodeCache | None = None) -> None:
        self._filesystem = filesystem
        self._cache = cache

    def put(self, source: Path, entry: FileEntry) -> None:
        """Stores the file's bytes; a blob that is there already and right is kept, a damaged one replaced.

        One that is old is written anew: it may be about to be removed, as nothing needed it before.
        """
        path = self._path("a file to publish", entry)
        with store_access(self._filesystem, "written"):
            written_s = self._filesystem.modified_s(path)
            young = written_s is not None and time.time() - written_s < GRACE_S / 2
            if not young or self._filesystem.size_bytes(path) != entry.size or not self._is_right(path, entry):
                self._filesystem.upload(source, path, entry.sha256)

    def restore(self, source: Path, entry: FileEntry) -> None:
        """Stores the file's bytes again if the blob has been removed since it was put."""
        path = self._path("a file to publish", entry)
        with store_access(self._filesystem, "written"):
            if self._filesystem.size_bytes(path) is None:
                self._filesystem.upload(source, path, entry.sha256)

    def chunks(self, label: str, entry: FileEntry) -> Iterator[bytes]:
        """The bytes of a blob.

        Raises `IntegrityError`, which names `label`, when it is lost or, after its last chunk, when its
        digest is another.
        """
        path = self._path(label, entry)
        try:
            with store_access(self._filesystem, "read"), self._filesystem.open(path) as stream:
                yield from verified_chunks(stream, entry.sha256)
        except StoreError as error:
            if isinstance(error.__cause__, DigestMismatchError):
                raise self._damaged(label, entry, actual=error.__cause__.actual) from error
            if isinstance(error.__cause__, FileNotFoundError):
                raise self._damaged(label, entry, actual=None) from error
            raise

    def place(self, name: str, entry: FileEntry, target: Path) -> None:
        """Makes `target` the blob, by hard link or copy, read-only; one that is right already is kept.

        Raises `OSError` when `target` can't be written.
        """
        path = self._path(f"file {name!r}", entry)
        if _holds(target, entry):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{uuid4().hex}.tmp")

        def content() -> Iterator[bytes]:
            return self.chunks(f"file {name!r}", entry)

        try:
            if self._filesystem.link(path, temporary):
                for _ in content():
                    pass
            elif self._cache is None or not self._cache.place(entry, temporary, content):
                write_file(temporary, content())
            os.replace(temporary, target)
        finally:
            # Renaming onto another link of the same file does nothing: it happens when two check out at once.
            with suppress(OSError):
                os.unlink(temporary)

    def _path(self, label: str, entry: FileEntry) -> str:
        if not _SHA256.fullmatch(entry.sha256):
            raise IntegrityError(
                f"{label} in store {self._filesystem.url!r}: expected a sha256 of 64 hex digits, got "
                f"{entry.sha256!r}; the manifest was tampered with",
                file=label,
            )
        return f"blobs/sha256/{entry.sha256}"

    def _is_right(self, path: str, entry: FileEntry) -> bool:
        try:
            with self._filesystem.open(path) as stream:
                for _ in verified_chunks(stream, entry.sha256):
                    pass
        except DigestMismatchError:
            return False
        return True

    def _damaged(self, label: str, entry: FileEntry, actual: str | None) -> IntegrityError:
        got = f"got {actual}" if actual else "and the blob is missing"
        return IntegrityError(
            f"{label} in store {self._filesystem.url!r}: expected sha256 {entry.sha256}, {got}; "
            "publish the model again to mend it",
            file=label,
            expected=entry.sha256,
            actual=actual,
        )


def _holds(target: Path, entry: FileEntry) -> bool:
    """Whether the file is there with the right bytes; a symbolic link is replaced, whatever it leads to."""
    try:
        return not target.is_symlink() and digest_file(target) == entry.sha256
    except FileNotFoundError:
        return False
