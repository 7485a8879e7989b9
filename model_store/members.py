"""The members of an archive, whichever form it has, and how much may come out of it.

Only listing and opening: what a member may be called, and where it is written, is `unpacking.py`'s.
"""

from __future__ import annotations

import gzip
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Literal, cast

from model_store.errors import SourceError
from model_store.filesystems import CHUNK_BYTES

DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, struct.error,
    EOFError, NotImplementedError, OverflowError, ValueError,
)  # fmt: skip
"""What the readers raise for an archive that is cut off or damaged."""

LARGEST_HEADER_BYTES = 1 << 20
"""Of a tar, extended headers included, which are read into memory whole."""
_TAR_BUFFER_BYTES = 1 << 16
_ENCRYPTED = 0x1

Form = Literal["zip", "tgz", "folder"]


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive, under the name that the archive gives it."""

    name: str
    kind: Literal["file", "folder"]
    open: Callable[[], IO[bytes]]
    """Must be read, to its end, before the next member is asked for."""
    packed_bytes: int | None = None
    """What it takes in the archive, by its header; None where members are compressed together or not at all."""
    problem: str | None = None
    """Why it must not be unpacked, whatever its name."""


Members = Generator[Member, None, None]


class Allowance:
    """How much may come out of one archive. It counts real bytes, whatever the headers say."""

    def __init__(self, source: str, size_bytes: int, ratio: int, slack_bytes: int) -> None:
        self._source = source
        self._size_bytes = size_bytes
        self._ratio = ratio
        self._slack_bytes = slack_bytes
        self.spent_bytes = 0
        self._member: Member | None = None
        self._member_bytes = 0

    def spend(self, member: Member, size_bytes: int) -> None:
        """Counts bytes that came out of `member`; raises `SourceError` when they are too many."""
        if member is not self._member:
            self._member, self._member_bytes = member, 0
        self._member_bytes += size_bytes
        self.spent_bytes += size_bytes
        if self.spent_bytes > self._size_bytes:
            limit = f"{self._size_bytes >> 30} GiB" if self._size_bytes >= 1 << 30 else f"{self._size_bytes} bytes"
            raise SourceError(f"source {self._source!r} unpacks to more than {limit}, reached in {member.name!r}")
        if member.packed_bytes is not None:
            self.check_ratio(f"member {member.name!r}", self._member_bytes, member.packed_bytes)

    def check_ratio(self, what: str, out_bytes: int, packed_bytes: int) -> None:
        """Raises `SourceError` when more came out of `what` than `ratio` times what went in."""
        if out_bytes > self._ratio * packed_bytes + self._slack_bytes:
            raise SourceError(
                f"source {self._source!r}: {what} inflates to more than {self._ratio} times its size, as a bomb does"
            )


def form_of(source: Path) -> Form | None:
    """By the first bytes; None for what is no archive or can't be read."""
    if source.is_dir():
        return "folder"
    try:
        with source.open("rb") as file:
            head = file.read(4)
    except OSError:
        return None
    return "zip" if head in (b"PK\x03\x04", b"PK\x05\x06") else "tgz" if head[:2] == b"\x1f\x8b" else None


def members_of(source: Path, allowance: Allowance) -> Members:
    """All members, in the archive's order. Raises one of `DAMAGED`, `OSError`, and `SourceError` for no archive."""
    form = form_of(source)
    if form is None:
        raise SourceError(f"source {source.name!r} is no archive: expected a zip, a tar.gz or a folder")
    return _READERS[form](source, allowance)


def _zip_members(source: Path, allowance: Allowance) -> Members:
    size_bytes = source.stat().st_size
    with zipfile.ZipFile(source) as archive:
        for info in archive.infolist():
            # orig_filename: zipfile cuts the other name at a NUL.
            name = info.orig_filename
            yield Member(
                name,
                "folder" if name.endswith("/") else "file",
                lambda info=info: archive.open(info),  # type: ignore[misc]
                packed_bytes=min(info.compress_size, size_bytes),
                problem=zip_problem(info),
            )
            # Members that overlap in the file each look small; together they can't be more than it.
            allowance.check_ratio("the archive", allowance.spent_bytes, size_bytes)


def zip_problem(info: zipfile.ZipInfo) -> str | None:
    """Why a member of a zip must not be read; None when it may."""
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted; pack it again without a password"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile inflates the others by whole pieces, with no bound on what one becomes in memory.
        return "is compressed in an unusual way; pack it again with deflate"
    return _mode_problem(info.external_attr >> 16)


_SPECIAL = {
    stat.S_IFLNK: "is a link; pack the file itself",
    stat.S_IFIFO: "is a pipe",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
    stat.S_IFSOCK: "is a socket",
}


def _mode_problem(mode: int) -> str | None:
    return _SPECIAL.get(stat.S_IFMT(mode))


def _tar_members(source: Path, allowance: Allowance) -> Members:
    with source.open("rb") as file, gzip.GzipFile(fileobj=file) as inflated:
        content = _Inflated(file, cast(BinaryIO, inflated), allowance)
        with tarfile.open(fileobj=cast(IO[bytes], content), mode="r|", bufsize=_TAR_BUFFER_BYTES) as archive:
            while True:
                content.header_bytes_left = LARGEST_HEADER_BYTES
                info = archive.next()
                content.header_bytes_left = None
                if info is None:
                    break
                yield Member(
                    info.name,
                    "folder" if info.isdir() else "file",
                    lambda info=info: cast(IO[bytes], archive.extractfile(info)),  # type: ignore[misc]
                    problem=_tar_problem(info),
                )
                # tarfile itself would keep every header.
                archive.members = []  # type: ignore[attr-defined]
        # The checksum at the end tells whether the file is whole.
        while content.read(CHUNK_BYTES):
            pass


def _tar_problem(info: tarfile.TarInfo) -> str | None:
    if info.issparse():
        return "is sparse: its header claims bytes that are not there"
    return None if info.isdir() else _TAR_TYPES.get(info.type, "is no plain file")


_TAR_TYPES: dict[bytes, str | None] = {
    tarfile.REGTYPE: None,
    tarfile.AREGTYPE: None,
    tarfile.CONTTYPE: None,
    tarfile.SYMTYPE: "is a link; pack the file itself",
    tarfile.LNKTYPE: "is a hard link; pack the file itself",
    tarfile.FIFOTYPE: "is a pipe",
    tarfile.CHRTYPE: "is a device",
    tarfile.BLKTYPE: "is a device",
}


class _Inflated:
    """What comes out of a gzip file, as far as the allowance for what went in so far goes."""

    def __init__(self, packed: BinaryIO, inflated: BinaryIO, allowance: Allowance) -> None:
        self._packed = packed
        self._inflated = inflated
        self._allowance = allowance
        self._out_bytes = 0
        self.header_bytes_left: int | None = LARGEST_HEADER_BYTES

    def read(self, size_bytes: int) -> bytes:
        """Up to `size_bytes`. Raises `SourceError` for a bomb, and for a header of more than `header_bytes_left`."""
        data = self._inflated.read(size_bytes)
        self._out_bytes += len(data)
        self._allowance.check_ratio("the archive", self._out_bytes, self._packed.tell())
        if self.header_bytes_left is not None:
            self.header_bytes_left -= len(data)
            if self.header_bytes_left < 0:
                raise tarfile.ReadError("a header of more than 1 MiB")
        return data


def _folder_members(source: Path, allowance: Allowance) -> Members:
    root = source.resolve()
    for parent, folders, files in os.walk(root, onerror=_raise):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in [*sorted(set(folders) - set(links)), *sorted(files + links)]:
            path = Path(parent) / name
            # `name` may hold a backslash, which is refused later; it is no separator here.
            relative = os.path.relpath(path, root)
            yield Member(
                relative,
                "folder" if path.is_dir() and not path.is_symlink() else "file",
                lambda path=path: path.open("rb"),  # type: ignore[misc]
                problem=_path_problem(root, path),
            )


def _path_problem(root: Path, path: Path) -> str | None:
    """A link to a file of the same folder stands for that file."""
    if not path.is_symlink():
        return _mode_problem(path.lstat().st_mode)
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(root):
        return f"is a link to {str(target)!r}, which is not in the folder; replace it by the file itself"
    return None if target.is_file() else "is a link to no file; replace it by the files themselves"


def _raise(error: OSError) -> None:
    raise error


_READERS: dict[Form, Callable[[Path, Allowance], Members]] = {
    "zip": _zip_members,
    "tgz": _tar_members,
    "folder": _folder_members,
}
