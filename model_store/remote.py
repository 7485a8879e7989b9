"""Anything that fsspec reaches, as the file system of a store: object stores above all.

Every call ends within bounded time, whatever the other side does: a store that stalls is an error, and nobody waits for
it for ever.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast
from uuid import uuid4

from model_store.errors import first_line
from model_store.filesystems import DigestMismatchError, FileSystem, StoredFile, as_os_error, digest_file, reason
from model_store.redirects import Follow, asking

EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "azure"),
}
"""URL scheme of an object store -> extra of the distribution that brings its file system."""

CALL_TIMEOUT_S = 60.0
"""One call of a driver at the most, its own repeats included."""

BLOCK_BYTES = 16 << 20
"""What one call reads of a large file: 280 kB/s are enough to stay within `CALL_TIMEOUT_S`."""

SLOWEST_BYTES_PER_S = 256 << 10
"""A file is uploaded in one call, which may take longer by its size at this rate."""

_S3_PATIENCE = {
    "connect_timeout": 5,
    "read_timeout": 10,
    "retries": {"mode": "standard", "total_max_attempts": 2},
}
"""Of botocore, for one request. Its own defaults, times those of s3fs around it, add up to six minutes of silence."""

_S3_TRIES = 2
"""Of s3fs: botocore repeats requests that fail, s3fs also those whose answer is cut off."""


class RemoteFileSystem(FileSystem):
    """Anything that fsspec reaches. Nothing is cached: what other writers did is seen at once.

    Puts of object stores are atomic, and `create` is exclusive there. On others (SFTP, SMB) `create` is as
    exclusive as their driver makes it, and a killed writer can leave a cut-off file.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs, self._root = open_url(self.url)

    def __reduce__(self) -> tuple[Any, ...]:
        return (RemoteFileSystem, (self.url,))

    def prepare(self) -> None:
        """Proves that the root can be written; a bucket is not created, since a mistyped name must fail."""
        probe = f"tmp/{uuid4().hex}"
        self._write(probe, lambda target: self._call("pipe_file", target, b"onegate"))
        self._call("rm_file", self._path(probe))

    def check_present(self) -> None:
        """Tells nothing: an object store has no folders, and one that is empty is as good as absent."""

    def names(self, folder: str) -> list[str]:
        """Names directly inside `folder`, sorted."""
        return sorted({PurePosixPath(child["name"]).name for child in self._children(folder)})

    def files(self, folder: str) -> list[StoredFile]:
        """The files directly inside `folder`, by name."""
        found = [child for child in self._children(folder) if child["type"] == "file"]
        files = []
        for child in found:
            modified_s = _modified_s(child)
            # What nobody dates counts as new, and is never removed for its age.
            modified_s = math.inf if modified_s is None else modified_s
            files.append(StoredFile(PurePosixPath(child["name"]).name, int(child["size"]), modified_s))
        return sorted(files, key=lambda file: file.name)

    def size_bytes(self, path: str) -> int | None:
        """Size of the file, or None."""
        found = self._info(path)
        return int(found["size"]) if found else None

    def modified_s(self, path: str) -> float | None:
        """When the file was written, or None."""
        found = self._info(path)
        return _modified_s(found) if found else None

    def open(self, path: str) -> BinaryIO:
        """The file for reading, fetched in blocks."""
        if not self._fs.async_impl:
            with as_os_error():
                return cast(BinaryIO, self._fs.open(self._path(path), "rb"))
        size_bytes = int(self._call("info", self._path(path))["size"])
        blocks = _Blocks(lambda start, end: self._call("cat_file", self._path(path), start=start, end=end), size_bytes)
        return io.BufferedReader(blocks, max(1, min(BLOCK_BYTES, size_bytes)))

    def read(self, path: str) -> bytes:
        """The whole file, in one call."""
        return cast(bytes, self._call("cat_file", self._path(path)))

    def create(self, path: str, data: bytes) -> None:
        """Puts the file if absent, by the precondition that object stores have for it."""
        try:
            self._write(path, lambda target: self._call("pipe_file", target, data, mode="create"))
        except OSError as error:
            self._settle(path, data, error)

    def upload(self, source: Path, path: str, sha256: str) -> None:
        """Puts the file whole."""
        timeout_s = CALL_TIMEOUT_S + source.stat().st_size / SLOWEST_BYTES_PER_S
        self._write(path, lambda target: self._call("put_file", str(source), target, timeout_s=timeout_s))
        # Drivers read the source themselves; it must not have changed under them.
        if (actual := digest_file(source)) != sha256:
            raise DigestMismatchError(sha256, actual)

    def link(self, path: str, target: Path) -> bool:
        """Never possible."""
        return False

    def remove(self, path: str) -> None:
        """Removes the file, if it is there."""
        try:
            self._call("rm_file", self._path(path))
        except FileNotFoundError:
            return

    def remove_folder(self, path: str) -> None:
        """Nothing to do: what looks like a folder is a part of names."""

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _call(self, method: str, *arguments: Any, timeout_s: float | None = None, **options: Any) -> Any:
        timeout_s = CALL_TIMEOUT_S if timeout_s is None else timeout_s
        if self._fs.async_impl:
            options["timeout"] = timeout_s
        try:
            with as_os_error():
                return getattr(self._fs, method)(*arguments, **options)
        except TimeoutError as error:
            # fsspec's own has no text.
            raise TimeoutError(str(error) or f"no answer within {timeout_s:.0f} s") from error

    def _info(self, path: str) -> Any:
        """What the driver knows of the file, None when there is none."""
        try:
            found = self._call("info", self._path(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found if found["type"] == "file" else None

    def _children(self, folder: str) -> list[Any]:
        path = self._path(folder)
        try:
            children = self._call("ls", path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        # Object stores list a folder's own marker among its children.
        return [child for child in children if child["name"].strip("/") != path.strip("/")]

    def _write(self, path: str, write: Callable[[str], Any]) -> None:
        target = self._path(path)
        try:
            write(target)
        except FileNotFoundError:
            if self.url.split("://")[0] in EXTRAS:
                raise  # The bucket is missing, and drivers would create it.
            with as_os_error():
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


class _Blocks(io.RawIOBase):
    """A remote file as a stream: each block is a call of its own, bounded like all calls."""

    def __init__(self, fetch: Callable[[int, int], bytes], size_bytes: int) -> None:
        self._fetch = fetch
        self._size_bytes = size_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size_bytes)
        content = self._fetch(self._position, end) if end > self._position else b""
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def open_url(url: str, follow: Follow | None = None) -> tuple[Any, str]:
    """The fsspec file system of `url` and the path in it; `OSError` when the scheme can't be had.

    `follow` is asked where a web server sends on; None follows everywhere.
    """
    import fsspec

    scheme = url.split("://")[0]
    options: dict[str, Any] = {"config_kwargs": _S3_PATIENCE} if EXTRAS.get(scheme) == "s3" else {}
    if follow is not None and scheme in ("http", "https"):
        options = asking(follow)
    try:
        with as_os_error():
            filesystem, path = fsspec.core.url_to_fs(url, use_listings_cache=False, **options)
    except OSError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        package = f"pip install 'onegate[{EXTRAS[scheme]}]'" if scheme in EXTRAS else first_line(error)
        raise OSError(f"the package for {scheme}:// is not installed; {package}") from error
    if "config_kwargs" in options:
        filesystem.retries = _S3_TRIES
    return filesystem, path


def _modified_s(info: Any) -> float | None:
    """When the driver says that the file was written; None where it does not. They disagree on the key: S3 and its
    like, SFTP, Google Cloud Storage, Azure, and those of fsspec itself."""
    for key in ("LastModified", "mtime", "updated", "last_modified", "modified", "created"):
        value = info.get(key)
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None
