"""A folder of this machine, or one that is mounted, as the file system of a store.

All files are written once: read-only, under their final name only when they are on disk, and there after a
power cut. That is a temporary file in `tmp/`, fsync, then link or rename, then fsync of the folder.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from model_store.filesystems import FileSystem, StoredFile, verified_chunks

LEFTOVER_AGE_S = 24 * 3600.0
"""Temporary files untouched for so long belong to a writer that was killed."""


LOCK = "lock"
"""File in `tmp/` that serialises renames; it stays."""


class LocalFileSystem(FileSystem):
    """All writes go through `tmp/` below the root, so that leftovers of killed writers lie in one place."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root.expanduser()))
        self.url = str(self.root)

    def prepare(self) -> None:
        """Creates the root, proves that it can be written, and removes old leftovers."""
        make_folder(self.root)
        with self._temporary([b"onegate"]):
            pass
        self._sweep()

    def check_present(self) -> None:
        """Raises where the root is no folder that can be read."""
        os.scandir(self.root).close()

    def names(self, folder: str) -> list[str]:
        """Names directly inside `folder`, sorted."""
        try:
            return sorted(os.listdir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size_bytes(self, path: str) -> int | None:
        """Size of the file, or None."""
        found = self.root / path
        try:
            return found.stat().st_size if found.is_file() else None
        except FileNotFoundError:
            return None

    def files(self, folder: str) -> list[StoredFile]:
        """The files directly inside `folder`, by name."""
        found = []
        for name in self.names(folder):
            # A rival may remove one meanwhile.
            with suppress(FileNotFoundError):
                status = (self.root / folder / name).stat()
                if stat.S_ISREG(status.st_mode):
                    found.append(StoredFile(name, status.st_size, status.st_mtime))
        return found

    def modified_s(self, path: str) -> float | None:
        """When the file was written, or None."""
        try:
            return (self.root / path).stat().st_mtime
        except FileNotFoundError:
            return None

    def open(self, path: str) -> BinaryIO:
        """The file for reading."""
        return (self.root / path).open("rb")

    def create(self, path: str, data: bytes) -> None:
        """Writes the file if absent: a hard link fails when its name is taken, a rename would not."""
        target = self.root / path
        make_folder(target.parent)
        with self._temporary([data]) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                raise
            except OSError:
                self._rename_if_absent(temporary, target)
        sync_folder(target.parent)

    def upload(self, source: Path, path: str, sha256: str) -> None:
        """Copies the file, checking its digest on the way."""
        target = self.root / path
        make_folder(target.parent)
        with source.open("rb") as stream, self._temporary(verified_chunks(stream, sha256)) as temporary:
            os.replace(temporary, target)
        sync_folder(target.parent)

    def link(self, path: str, target: Path) -> bool:
        """Hard-links the file at `target`; False where that can't be done."""
        try:
            os.link(self.root / path, target)
        except FileExistsError:
            raise
        except OSError:
            # Another file system, one without hard links, or a file of another user (fs.protected_hardlinks).
            return False
        return True

    def remove(self, path: str) -> None:
        """Removes the file, if it is there."""
        target = self.root / path
        # A rival may remove the file, and then its folder.
        with suppress(FileNotFoundError):
            os.unlink(target)
            sync_folder(target.parent)

    def remove_folder(self, path: str) -> None:
        """Removes the folder if it is there and empty."""
        with suppress(OSError):
            os.rmdir(self.root / path)

    def _rename_if_absent(self, temporary: Path, target: Path) -> None:
        """`os.link` for mounts without hard links (FAT, some of SMB); the lock dies with its holder."""
        import fcntl

        lock = os.open(self.root / "tmp" / LOCK, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if target.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            os.rename(temporary, target)
        finally:
            os.close(lock)

    @contextmanager
    def _temporary(self, content: Iterable[bytes]) -> Iterator[Path]:
        """A synced file in `tmp/` with that content; gone afterwards unless it was renamed."""
        make_folder(self.root / "tmp")
        temporary = self.root / "tmp" / uuid4().hex
        try:
            write_file(temporary, content)
            yield temporary
        finally:
            with suppress(OSError):
                os.unlink(temporary)

    def _sweep(self) -> None:
        """Removes what killed writers left in `tmp/`: a cut-off blob may be gigabytes."""
        oldest_kept = time.time() - LEFTOVER_AGE_S
        for name in self.names("tmp"):
            leftover = self.root / "tmp" / name
            with suppress(OSError):
                if name != LOCK and leftover.stat().st_mtime < oldest_kept:
                    os.unlink(leftover)


def write_file(path: Path, content: Iterable[bytes]) -> None:
    """Writes a new, read-only file and waits until it is on disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    try:
        for chunk in content:
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Creates `folder` and its parents, on disk; `NotADirectoryError` when a file is in the way."""
    if folder.is_dir():
        return
    if folder != folder.parent:
        make_folder(folder.parent)
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Puts the folder's entries on disk, where its file system knows of that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
