"""The file systems below stores and sources: a few verbs, and their fsspec implementation.

Paths are relative to a root, and every failure is an `OSError`, of which `store_access` makes the store's
error. What the bytes mean is left to the caller. `local.py` holds the implementation for local folders.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from model_store.errors import StoreError
from model_store.redirects import Follow, asking

CHUNK_BYTES = 1 << 20

EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "azure"),
}
"""URL scheme of an object store -> extra of the distribution that brings its file system."""


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
    def names(self, folder: str) -> list[str]:
        """Names directly inside `folder`, sorted; none when it is absent."""

    @abstractmethod
    def size_bytes(self, path: str) -> int | None:
        """Size of the file, None when there is no such file."""

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

    def read(self, path: str) -> bytes:
        """The whole file; `FileNotFoundError` when absent."""
        with self.open(path) as stream:
            return stream.read()


class RemoteFileSystem(FileSystem):
    """Anything that fsspec reaches. Nothing is cached: what other writers did is seen at once.

    Puts of object stores are atomic, and `create` is exclusive there. On others (SFTP, SMB) `create` is as
    exclusive as their driver makes it, and a killed writer can leave a cut-off file.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs, self._root = open_url(self.url)

    def prepare(self) -> None:
        """Proves that the root can be written; a bucket is not created, since a mistyped name must fail."""
        probe = f"tmp/{uuid4().hex}"
        self._write(probe, lambda target: self._fs.pipe_file(target, b"onegate"))
        with as_os_error():
            self._fs.rm_file(self._path(probe))

    def names(self, folder: str) -> list[str]:
        """Names directly inside `folder`, sorted."""
        path = self._path(folder)
        try:
            with as_os_error():
                children = self._fs.ls(path, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        # Object stores list a folder's own marker among its children.
        return sorted({PurePosixPath(child).name for child in children if child.strip("/") != path.strip("/")})

    def size_bytes(self, path: str) -> int | None:
        """Size of the file, or None."""
        try:
            with as_os_error():
                found = self._fs.info(self._path(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def open(self, path: str) -> BinaryIO:
        """The file for reading, fetched in blocks."""
        with as_os_error():
            return cast(BinaryIO, self._fs.open(self._path(path), "rb"))

    def create(self, path: str, data: bytes) -> None:
        """Puts the file if absent, by the precondition that object stores have for it."""
        try:
            self._write(path, lambda target: self._fs.pipe_file(target, data, mode="create"))
        except OSError as error:
            self._settle(path, data, error)

    def upload(self, source: Path, path: str, sha256: str) -> None:
        """Puts the file whole."""
        self._write(path, lambda target: self._fs.put_file(str(source), target))
        # Drivers read the source themselves; it must not have changed under them.
        if (actual := digest_file(source)) != sha256:
            raise DigestMismatchError(sha256, actual)

    def link(self, path: str, target: Path) -> bool:
        """Never possible."""
        return False

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _write(self, path: str, write: Callable[[str], Any]) -> None:
        target = self._path(path)
        with as_os_error():
            try:
                write(target)
            except FileNotFoundError:
                if self.url.split("://")[0] in EXTRAS:
                    raise  # The bucket is missing, and drivers would create it.
                self._fs.makedirs(str(PurePosixPath(target).parent), exist_ok=True)
                write(target)

    def _settle(self, path: str, data: bytes, error: OSError) -> None:
        """Looks who won after a failed create: a driver that repeats a put whose answer was lost meets its
        own file, and S3 answers some races with 409 instead of 412."""
        try:
            present = self.read(path)
        except OSError:
            # Nothing is there, so this is no lost race, whatever the driver calls it.
            raise OSError(reason(error)) from error
        if present != data:
            raise FileExistsError(f"{path} exists") from error


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


def open_url(url: str, follow: Follow | None = None) -> tuple[Any, str]:
    """The fsspec file system of `url` and the path in it; `OSError` when the scheme can't be had.

    `follow` is asked where a web server sends on; None follows everywhere.
    """
    import fsspec

    scheme = url.split("://")[0]
    options = asking(follow) if follow is not None and scheme in ("http", "https") else {}
    try:
        with as_os_error():
            return cast(tuple[Any, str], fsspec.core.url_to_fs(url, use_listings_cache=False, **options))
    except OSError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        package = f"pip install 'onegate[{EXTRAS[scheme]}]'" if scheme in EXTRAS else str(error)
        raise OSError(f"the package for {scheme}:// is not installed; {package}") from error


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
