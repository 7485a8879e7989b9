"""Unpacks an archive of somebody else's: zip, tar.gz or a plain folder, all of it or nothing.

A member that would be written elsewhere, is no plain file, or grows without measure is refused by name. Every limit is
held against the bytes that come out, since headers may lie. How the forms are read is `members.py`'s, what the files
mean `archives.py`'s.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from model_store.errors import SourceError, first_line
from model_store.filesystems import chunks, is_inside, reason
from model_store.members import DAMAGED, Allowance, Member, members_of

_DRIVE = re.compile(r"[A-Za-z]:")
_UNPRINTABLE = frozenset(("Cc", "Cs"))
"""Categories of control characters, which break lines of logs, and of bytes that are no UTF-8."""
_DEEPEST = 100
"""Folders in each other: Python's own walks over them recurse."""


@dataclass(frozen=True)
class UnpackLimits:
    """What an archive may grow to: members, bytes of all of them, and bytes that come out for each that goes in.

    `slack_bytes` come on top of `ratio`, as a short file of zeros is no bomb.
    """

    members: int = 10_000
    size_bytes: int = 64 << 30
    ratio: int = 100
    slack_bytes: int = 1 << 20


LIMITS = UnpackLimits()


def unpack(source: Path, folder: Path, limits: UnpackLimits = LIMITS) -> None:
    """Writes the files of the archive `source` into `folder`, which must be absent or empty.

    Files are streamed, at most 1 MiB of one in memory, and belong to nobody's mode bits or times: plain new files.
    Raises `SourceError` that names the member and the rule for an unsafe archive, one that is cut off or damaged, and
    when `folder` can't be written; then nothing of it is left.
    """
    if folder.resolve().is_relative_to(source.resolve()):
        raise SourceError(f"source {source.name!r} can't be unpacked into itself: {str(folder)!r} lies in it")
    allowance = Allowance(source.name, limits.size_bytes, limits.ratio, limits.slack_bytes)
    names = _Names(source, limits)
    with _reasons(source), _whole_or_absent(folder) as partial, closing(members_of(source, allowance)) as members:
        for member in members:
            name = names.take(member)
            if name is None:
                continue
            if member.kind == "folder":
                (partial / name).mkdir(parents=True, exist_ok=True)
            else:
                _write(member, partial / name, allowance)


def _write(member: Member, target: Path, allowance: Allowance) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as stream, target.open("xb") as file:
        for chunk in chunks(cast(BinaryIO, stream)):
            allowance.spend(member, len(chunk))
            file.write(chunk)


@contextmanager
def _whole_or_absent(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when all went well, and is removed otherwise."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder.parent))
    try:
        yield partial
        partial.chmod(0o755)
        os.replace(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def _reasons(source: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise SourceError(f"source {source.name!r} is cut off or damaged: {first_line(error)}") from error
    except OSError as error:
        raise SourceError(f"source {source.name!r} can't be unpacked: {reason(error)}") from error


class _Names:
    """The names taken so far. Two that differ in case alone count as one: on a disk that does not tell them apart
    (macOS, Windows) the second would replace what was checked as the first."""

    def __init__(self, source: Path, limits: UnpackLimits) -> None:
        self._source = source.name
        self._limits = limits
        self._count = 0
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}

    def take(self, member: Member) -> str | None:
        """The relative path of a member, None for the root itself; raises `SourceError` that names it and the rule."""
        self._count += 1
        if self._count > self._limits.members:
            raise self._refusal(
                member, f"comes after {self._limits.members} others, which is the most that is unpacked"
            )
        if member.problem is not None:
            raise self._refusal(member, member.problem)
        name = member.name.removeprefix("./")
        if member.kind == "folder":
            name = name.removesuffix("/")
            if name in ("", "."):
                return None
        if not is_inside(name) or _DRIVE.match(name):
            raise self._refusal(member, "is no plain relative path: it may lead out of the folder")
        if any(unicodedata.category(character) in _UNPRINTABLE for character in name):
            raise self._refusal(member, "has a name with control characters, or that is no UTF-8")
        if name.count("/") > _DEEPEST:
            raise self._refusal(member, f"lies more than {_DEEPEST} folders deep")
        self._claim(member, PurePosixPath(name))
        return name

    def _claim(self, member: Member, path: PurePosixPath) -> None:
        for parent in path.parents[:-1]:
            self._check_folder(member, str(parent))
        if member.kind == "folder":
            self._check_folder(member, str(path))
            return
        key = _key(str(path))
        if key in self._files or key in self._folders:
            raise self._refusal(member, f"comes twice, as {self._files.get(key) or self._folders.get(key)!r} before")
        self._files[key] = str(path)

    def _check_folder(self, member: Member, folder: str) -> None:
        key = _key(folder)
        if key in self._files:
            raise self._refusal(member, f"lies in {self._files[key]!r}, which is a file")
        if self._folders.setdefault(key, folder) != folder:
            raise self._refusal(member, f"differs from {self._folders[key]!r} in case alone")

    def _refusal(self, member: Member, rule: str) -> SourceError:
        return SourceError(f"source {self._source!r}: member {member.name!r:.200} {rule}", member=member.name)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
