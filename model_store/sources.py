"""Sources: what the user exported, found where the config says and brought to this machine.

Tells early, in one line, what is wrong with a source before a framework trips over it. What kind of model the
bytes are is left to the converters, unpacking to `archives.py`.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from model_store.companions import companion, companion_name, may_have_companion, meant_by_prefix
from model_store.errors import SourceError
from model_store.filesystems import as_os_error, chunks, is_inside, local_path, reason
from model_store.redirects import Follow, RedirectRefusedError
from model_store.remote import open_url

_LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
_LFS_POINTER_MAX_BYTES = 1024


def resolve_source(source: str, base: Path, workdir: Path, follow: Follow | None = None) -> Path:
    """The file or folder that `source` means, on this machine.

    A path, relative to `base` unless absolute, or a `file://` URL is returned where it is; what any other URL
    names is downloaded into `workdir`, under its own name, with the file that belongs to it (`companions.py`). The
    prefix of an MXNet model is its graph. `follow` is asked where a web server sends on; None follows everywhere.
    Raises `SourceError` for what is missing, empty, unreadable, no file or folder, or a Git-LFS pointer.
    """
    if not source.strip() or "\0" in source:
        raise SourceError(f"source {source!r}: expected the path or URL of an exported model", source=source)
    with _reading(source):
        local = local_path(source)
        path = _download(source, workdir, follow) if local is None else _by_prefix(base / local)
        _check_present(source, path)
        if path.is_dir():
            _check_folder(source, path)
        else:
            _check_file(source, path)
    return path


def digest_source(path: Path) -> str:
    """The sha256 of a file's bytes, or of a folder's sorted relative paths, sizes and bytes, as hex.

    A file that belongs to `path` (`companions.py`) counts too.
    A link to a file inside the folder counts as that file. Raises `SourceError` for a link that leaves the
    folder or leads nowhere, for what is no file or folder, and for a file that changes while it is read.
    """
    digest = hashlib.sha256()
    with _reading(str(path)):
        if not path.is_dir():
            _add_file(digest, path)
            if beside := companion(path):
                digest.update(b"\0" + os.fsencode(beside.name) + b"\0")
                _add_file(digest, beside)
            return digest.hexdigest()
        root = path.resolve()
        for relative in _entries(path):
            entry = path / relative
            resolved = _resolve_inside(root, entry)
            digest.update(os.fsencode(relative) + b"\0")
            if resolved.is_dir():
                # A link to a folder: the files below it are counted where they really are.
                digest.update(b"-> " + os.fsencode(resolved.relative_to(root)) + b"\0")
            else:
                digest.update(b"%d\0" % resolved.stat().st_size)
                _add_file(digest, resolved)
    return digest.hexdigest()


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is what Git leaves in the place of a large one; raises `OSError` when it can't be read."""
    if not len(_LFS_POINTER) <= path.stat().st_size <= _LFS_POINTER_MAX_BYTES:
        return False
    with path.open("rb") as stream:
        return stream.read(len(_LFS_POINTER)) == _LFS_POINTER


@contextmanager
def _reading(source: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(f"source {source!r} can't be read: {reason(error)}", source=source) from error


def _by_prefix(path: Path) -> Path:
    if path.exists() or not path.parent.is_dir():
        return path
    found = meant_by_prefix(path.name, os.listdir(path.parent))
    return path.with_name(found) if found else path


def _check_present(source: str, path: Path) -> None:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        where = path.parent
        names = os.listdir(where) if where.is_dir() else []
        raise _missing(source, str(where), path.name, names) from None


def _check_file(source: str, path: Path) -> None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise SourceError(
            f"source {source!r} is a link that leads nowhere: {os.readlink(path)!r}", source=source
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise SourceError(f"source {source!r}: expected a file or folder, got a device, pipe or socket", source=source)
    if not found.st_size:
        raise SourceError(f"source {source!r} is empty: expected an exported model, got 0 bytes", source=source)
    if is_lfs_pointer(path):
        raise SourceError(
            f"source {source!r}: {path.name!r} is a Git-LFS pointer, not the model; run `git lfs pull`",
            source=source,
        )


def _check_folder(source: str, path: Path) -> None:
    entries = _entries(path)
    if not entries:
        raise SourceError(f"source {source!r} is empty: expected an exported model, got no files", source=source)
    for relative in entries:
        entry = path / relative
        # Packages hold empty files (`__init__.py`); only pointers are wrong for certain.
        if entry.is_file() and is_lfs_pointer(entry):
            _check_file(source, entry)


def _missing(source: str, where: str, name: str, names: list[str]) -> SourceError:
    near = difflib.get_close_matches(name, names, n=3)
    advice = f"; near it: {', '.join(near)}" if near else ""
    return SourceError(
        f"source {source!r} does not exist: looked for {name!r} in {where!r}{advice}",
        source=source,
        near=near,
    )


def _download(source: str, workdir: Path, follow: Follow | None) -> Path:
    filesystem, root = open_url(source, follow)
    # The query of a web address is no part of the name; elsewhere '?' and '#' are letters of it.
    name = PurePosixPath(urlsplit(root).path if "://" in root else root).name
    with as_os_error():
        found = _info(filesystem, root)
    if found is None:
        parent = root.rpartition("/")[0]
        names = _remote_names(filesystem, parent)
        if symbol := meant_by_prefix(name, names):
            return _download(source + symbol.removeprefix(name), workdir, follow)
        raise _missing(source, parent, name, names)
    target = _fresh_target(workdir, name if is_inside(name) else "source")
    if found["type"] == "directory":
        _download_folder(source, filesystem, root, target)
    else:
        with as_os_error():
            filesystem.get_file(root, str(target))
        if may_have_companion(target.name):
            _download_companion(filesystem, root, target)
    return target


def _download_companion(filesystem: Any, root: str, target: Path) -> None:
    parent = root.rpartition("/")[0]
    if beside := companion_name(target.name, _remote_names(filesystem, parent)):
        with as_os_error():
            filesystem.get_file(f"{parent}/{beside}", str(target.with_name(beside)))


def _info(filesystem: Any, path: str) -> Any:
    try:
        return filesystem.info(path)
    except FileNotFoundError as error:
        if isinstance(error.__cause__, RedirectRefusedError):
            raise error.__cause__ from None
        return None


def _remote_names(filesystem: Any, folder: str) -> list[str]:
    """Names in a remote folder, for advice only: none where it can't be listed."""
    try:
        with as_os_error():
            return [PurePosixPath(child).name for child in filesystem.ls(folder, detail=False)]
    except OSError:
        return []


def _fresh_target(workdir: Path, name: str) -> Path:
    """An unused path in `workdir`: what an earlier, cut-off download left there is removed."""
    workdir.mkdir(parents=True, exist_ok=True)
    target = workdir / name
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    return target


def _download_folder(source: str, filesystem: Any, root: str, target: Path) -> None:
    with as_os_error():
        paths = filesystem.find(root)
    target.mkdir()
    for path in paths:
        relative = path.removeprefix(root).lstrip("/")
        if not relative or relative.endswith("/"):
            continue  # S3's marker of a folder
        if not is_inside(relative):
            raise SourceError(f"source {source!r}: {relative!r} leads out of the folder", source=source)
        destination = target / relative
        destination.parent.mkdir(parents=True, exist_ok=True)
        with as_os_error():
            filesystem.get_file(path, str(destination))


def _entries(folder: Path) -> list[str]:
    """Relative paths of all files, and of links to folders, sorted by their bytes."""
    found = []
    for parent, folders, files in os.walk(folder, onerror=_raise):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        found += [(Path(parent) / name).relative_to(folder).as_posix() for name in files + links]
    return sorted(found, key=os.fsencode)


def _raise(error: OSError) -> None:
    raise error


def _resolve_inside(root: Path, entry: Path) -> Path:
    """`entry` without links; `SourceError` when they lead out of `root` or nowhere."""
    resolved = Path(os.path.realpath(entry))
    if not resolved.is_relative_to(root) or not os.path.exists(resolved):
        raise SourceError(
            f"source {str(root)!r}: {entry.name!r} is a link to {str(resolved)!r}, which is not in "
            "the folder; replace it by the file itself",
            source=str(root),
            link=str(entry),
        )
    return resolved


def _add_file(digest: hashlib._Hash, path: Path) -> None:
    if not path.is_file():
        raise SourceError(f"source {str(path)!r}: expected a file, got none or a device, pipe or socket")
    size_bytes = 0
    with path.open("rb") as stream:
        expected_bytes = os.fstat(stream.fileno()).st_size
        for chunk in chunks(stream):
            size_bytes += len(chunk)
            digest.update(chunk)
    if size_bytes != expected_bytes:
        raise SourceError(
            f"source {str(path)!r} changed while it was read: expected {expected_bytes} bytes, "
            f"got {size_bytes}; wait until its export is done"
        )
