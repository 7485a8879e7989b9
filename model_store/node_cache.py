"""Files of remote stores that a node keeps, so that each is downloaded once however many processes load it.

    <folder>/blobs/<sha256>     whole files, checked when they come and whenever they are used
    <folder>/partial/<sha256>   the download under way, of the process that holds the lock
    <folder>/locks/<2 digits>   one download at a time for the digests that begin so; a lock dies with its holder

What is used longest ago goes first when there is no more room. A file that is linked into a checkout lives on there.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from model_store.filesystems import digest_file, reason, verified_chunks
from model_store.local import write_file
from model_store.manifest import FileEntry

log = logging.getLogger("onegate")


class NodeCache:
    """The files in `folder`, of all stores together, of at most `max_bytes`."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def place(self, entry: FileEntry, target: Path, fetch: Callable[[], Iterator[bytes]]) -> bool:
        """Makes the absent `target` the file, by hard link or copy; `fetch` downloads it where it isn't here yet.

        False where it can't be kept here, which is logged: the caller goes without. Raises what `fetch` raises.
        """
        folder = usable_folder(self._folder)
        if folder is None or entry.size > self._max_bytes:
            return False
        try:
            with _locked(folder, entry.sha256) as held:
                assert held
                blob = folder / "blobs" / entry.sha256
                if not _is_right(blob, entry):
                    self._make_room(folder, entry)
                    _download(folder / "partial" / entry.sha256, blob, fetch())
                os.utime(blob)
                _link_or_copy(blob, entry, target)
        except OSError as error:
            log.warning("the store cache %s can't be used for %s: %s", folder, entry.sha256, reason(error))
            with suppress(OSError):
                os.unlink(target)
            return False
        return True

    def _make_room(self, folder: Path, entry: FileEntry) -> None:
        """Removes what killed downloads left, and then, longest unused first, until there is room for `entry`."""
        for leftover in (folder / "partial").iterdir():
            _remove_unused(folder, leftover)
        files = sorted(_files(folder / "blobs"), key=lambda found: found[1].st_mtime_ns)
        excess = sum(status.st_size for _, status in files) + entry.size - self._max_bytes
        for path, status in files:
            if excess <= 0:
                break
            if _remove_unused(folder, path):
                excess -= status.st_size


def default_folder() -> Path:
    """Where the cache lies unless the config says it."""
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        caches = Path(tempfile.gettempdir())  # a user without a home
    return caches / "onegate" / "blobs"


@lru_cache(maxsize=16)
def usable_folder(folder: Path) -> Path | None:
    """`folder`, made ready, or one in the temporary folder where it can't be written; None where neither can.

    It is for its owner alone: who may write there could not harm a version, as digests are checked, but could fill or
    empty it, and who may read there has the models.
    """
    spare = Path(tempfile.gettempdir()) / f"onegate-blobs-{os.geteuid()}"
    for candidate in (folder, spare):
        try:
            _make_ready(candidate)
        except OSError as error:
            log.warning("the store cache can't be kept in %s: %s", candidate, reason(error))
        else:
            if candidate is spare:
                log.warning("the store cache is kept in %s instead", spare)
            return candidate
    return None


def _make_ready(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError("expected a folder of this user's own that nobody else may write in")
    for name in ("blobs", "partial", "locks"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass  # a mount may be read-only


@contextmanager
def _locked(folder: Path, sha256: str, *, wait: bool = True) -> Iterator[bool]:
    """Holds the lock of a digest for the block; False where it is held elsewhere and was not to be waited for."""
    lock = os.open(folder / "locks" / sha256[:2], os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(lock)


def _is_right(blob: Path, entry: FileEntry) -> bool:
    try:
        if digest_file(blob) == entry.sha256:
            return True
    except FileNotFoundError:
        return False
    log.warning("%s in the store cache is damaged and is downloaded again", entry.sha256)
    os.unlink(blob)
    return False


def _download(partial: Path, blob: Path, content: Iterator[bytes]) -> None:
    with suppress(FileNotFoundError):
        os.unlink(partial)  # of a process that was killed: this one has the lock
    try:
        write_file(partial, content)
        os.replace(partial, blob)
    finally:
        with suppress(OSError):
            os.unlink(partial)


def _link_or_copy(blob: Path, entry: FileEntry, target: Path) -> None:
    try:
        os.link(blob, target)
    except OSError:
        # Another file system, or one without hard links.
        with blob.open("rb") as stream:
            write_file(target, verified_chunks(stream, entry.sha256))


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in folder.iterdir():
        # Another process may remove one meanwhile.
        with suppress(FileNotFoundError):
            yield path, path.stat()


def _remove_unused(folder: Path, path: Path) -> bool:
    """Removes a file unless a process downloads or links one of its lock; whether it is gone."""
    with _locked(folder, path.name, wait=False) as held:
        if held:
            path.unlink(missing_ok=True)
    return held
