"""What stores and sources need of a file system: a few verbs, and how their failures become the store's errors.

Paths are relative to a root, and every failure is an `OSError`, of which `store_access` makes the store's
error. What the bytes mean is left to the caller. `local.py` implements the verbs for folders, `remote.py` for URLs.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from model_store.errors import StoreError

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredFile:
    """A file of a folder: `modified_s` are seconds since 1970, by the store's own clock."""

    name: str
    size_bytes: int
    modified_s: float


class FileSystem(ABC):
    """A root folder and what can be done below it. All paths are relative, with forward slashes.

    A file is complete under its final name or absent, whenever the writer dies.
    """

    url: str
    """The root as users write it; absolute where it is local."""

    @abstractmethod
    def prepare(self) -> None:
        """Creates the root if absent and proves, with a file removed again, that it can be written."""

    @abstractmethod
    def check_present(self) -> None:
        """Raises `FileNotFoundError` where the root is a folder that is not there."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Names directly inside `folder`, sorted; none when it is absent."""

    @abstractmethod
    def size_bytes(self, path: str) -> int | None:
        """Size of the file, None when there is no such file."""

    @abstractmethod
    def files(self, folder: str) -> list[StoredFile]:
        """The files directly inside `folder`, by name; none when it is absent."""

    @abstractmethod
    def modified_s(self, path: str) -> float | None:
        """When the file was written, as `StoredFile.modified_s`; None when there is no such file, or nobody knows."""

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """The file for reading; `FileNotFoundError` when absent."""

    @abstractmethod
    def create(self, path: str, data: bytes) -> None:
        """Writes a file that must not exist yet; `FileExistsError` when it does. One of two rivals wins."""

    @abstractmethod
    def upload(self, source: Path, path: str, sha256: str) -> None:
        """Copies a local file of that digest to `path`, replacing what is there."""

    @abstractmethod
    def link(self, path: str, target: Path) -> bool:
        """Hard-links the file at the absent local `target`; False where that can't be done."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Removes the file; one that is absent already is no error."""

    @abstractmethod
    def remove_folder(self, path: str) -> None:
        """Removes the folder if it is there and empty; object stores have none."""

    def read(self, path: str) -> bytes:
        """The whole file; `FileNotFoundError` when absent."""
        with self.open(path) as stream:
            return stream.read()


class DigestMismatchError(OSError):
    """The bytes read are not those expected."""

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"expected sha256 {expected}, got {actual}")
        self.expected = expected
        self.actual = actual


def chunks(stream: BinaryIO) -> Iterator[bytes]:
    """The rest of `stream` in pieces of at most `CHUNK_BYTES`."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def verified_chunks(stream: BinaryIO, sha256: str) -> Iterator[bytes]:
    """The pieces of `stream`; after the last one `DigestMismatchError` when they don't have that digest."""
    digest = hashlib.sha256()
    with as_os_error():
        for chunk in chunks(stream):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != sha256:
        raise DigestMismatchError(sha256, digest.hexdigest())


def digest_file(path: Path) -> str:
    """The sha256 of the file's bytes, as hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def local_path(location: str) -> Path | None:
    """The path that a plain path or `file://` URL means, `~` expanded; None for URLs of other schemes.

    `OSError` for what no path can be: a URL with a host, the home of nobody, a NUL.
    """
    try:
        if not location.startswith("file:"):
            path = None if "://" in location else Path(location).expanduser()
        else:
            parts = urlsplit(location)
            if parts.netloc not in ("", "localhost"):
                raise OSError(f"file:// with host {parts.netloc!r}; write file:///absolute/path or a plain path")
            path = Path(unquote(parts.path))
    except (RuntimeError, ValueError) as error:
        raise OSError(f"no path: {error}") from error
    if path is not None and "\0" in str(path):
        raise OSError("no path: it has a NUL in it")
    return path


@contextmanager
def as_os_error() -> Iterator[None]:
    """Makes an `OSError` of what drivers raise on their own: credentials missing, connection refused."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error


@contextmanager
def store_access(filesystem: FileSystem, verb: str) -> Iterator[None]:
    """Makes a `StoreError` of an `OSError` inside: "store '/x' can't be <verb>: <reason>"."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"store {filesystem.url!r} can't be {verb}: {reason(error)}; mend that, or name another store",
            store=filesystem.url,
            reason=reason(error),
        ) from error


def reason(error: OSError) -> str:
    """The operating system's or driver's reason in one line, without the path."""
    text = " ".join((error.strerror or str(error) or type(error).__name__).split())
    return text if len(text) <= 300 else text[:297] + "..."


def is_inside(name: str) -> bool:
    """Whether `name` is a plain relative path, with forward slashes, that leads to no other folder."""
    path = PurePosixPath(name)
    return (
        str(path) == name
        and name not in ("", ".")
        and not path.is_absolute()
        and ".." not in path.parts
        and not set(name) & set("\\\0")
    )
