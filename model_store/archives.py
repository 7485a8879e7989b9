"""Archives of MXNet Model Server and TorchServe, recognised by content: `.mar` and the older `.model`.

An archive is a zip, a tar.gz or a plain folder with a manifest in it. Getting it out safely is `unpacking.py`'s, the
manifest `archive_manifest.py`'s, what else describes the model `archive_files.py`'s. Nothing of an archive is run.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from model_store.archive_files import (
    INDEX_FILE,
    SIGNATURE_FILE,
    SYNSET_FILE,
    ArchiveSignature,
    read_config,
    read_index,
    read_signature,
    read_synset,
)
from model_store.archive_manifest import (
    LARGEST_MANIFEST_BYTES,
    ArchiveManifest,
    current_manifest,
    is_old_manifest,
    old_manifest,
    read_bounded,
)
from model_store.errors import SourceError
from model_store.filesystems import is_inside
from model_store.members import DAMAGED, form_of, zip_problem
from model_store.sources import is_lfs_pointer
from model_store.unpacking import LIMITS, UnpackLimits, unpack

MANIFEST_FILE = "MAR-INF/MANIFEST.json"
_OLD_NAMES = ("MANIFEST.json", "manifest.json")
_PREFIX_BYTES = 1 << 20
"""How far into a tar.gz its listing is followed to recognise it."""
_MOST_CANDIDATES = 10
"""So many files called as the manifest of 0.4 are looked into to recognise a zip."""


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """An unpacked archive."""

    source: str
    """Name of the file or folder that it was unpacked from, for messages."""
    folder: Path
    """Where its files lie: the folder that its manifest describes."""
    manifest: ArchiveManifest
    config: dict[str, Any] = {}
    """`model-config.yaml`, where the manifest names one."""
    signature: ArchiveSignature | None = None
    labels: tuple[str, ...] | None = None
    """Names of the classes by index."""

    def files(self) -> list[str]:
        """Relative paths of all files, sorted, with forward slashes."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())


def open_archive(source: Path, folder: Path, limits: UnpackLimits = LIMITS) -> Archive:
    """Unpacks `source` into `folder`, which must be absent or empty, and reads what describes the model.

    Raises `SourceError` for what `unpack` refuses, an archive without a manifest, a manifest that is none or names
    files that are not there, and Git-LFS pointers among the files; then `folder` is not left behind.
    """
    unpack(source, folder, limits)
    try:
        return describe_archive(folder, source.name)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def describe_archive(folder: Path, source: str) -> Archive:
    """The archive that was unpacked into `folder` before; `source` is its name. Raises as `open_archive` does."""
    _refuse_pointers(folder, source)
    path, read = _manifest_in(folder, source)
    where = f"source {source!r}: its manifest {path.relative_to(folder).as_posix()!r}"
    manifest = read(read_bounded(path, LARGEST_MANIFEST_BYTES, where), where)
    root = path.parent.parent if read is current_manifest else path.parent
    for field, name in manifest.named_files().items():
        _check_named(root, name, f"{where} names {name!r} as {field.replace('_', ' ')}")
    config = manifest.config_file
    return Archive(
        source=source,
        folder=root,
        manifest=manifest,
        config=read_config(root / config, _where(source, config)) if config else {},
        signature=_signature(root, manifest.signature_file or SIGNATURE_FILE, source),
        labels=_labels(root, manifest, source),
    )


def _refuse_pointers(folder: Path, source: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and is_lfs_pointer(path):
            name = path.relative_to(folder).as_posix()
            raise SourceError(
                f"source {source!r}: member {name!r} is a Git-LFS pointer, not the file; run `git lfs pull` and pack "
                "it again",
                member=name,
            )


def _manifest_in(folder: Path, source: str) -> tuple[Path, Callable[[bytes, str], ArchiveManifest]]:
    """The manifest and what reads it, in the order in which MMS looks: at the root, else below a folder."""
    for pattern in (MANIFEST_FILE, f"*/{MANIFEST_FILE}"):
        if found := [path for path in folder.glob(pattern) if path.is_file()]:
            return _only(found, folder, source), current_manifest
    for pattern in ("", "**/"):
        below = [path for name in _OLD_NAMES for path in folder.glob(pattern + name) if path.is_file()]
        old = [path for path in below if is_old_manifest(_head(path))]
        if old or (below and not pattern):
            depth = min(len(path.parts) for path in old or below)
            return _only([path for path in old or below if len(path.parts) == depth], folder, source), old_manifest
    raise SourceError(
        f"source {source!r} holds no manifest: expected {MANIFEST_FILE} (MXNet Model Server, TorchServe) or "
        "MANIFEST.json (Model Server 0.4); pack it with `onegate archive pack`"
    )


def _only(found: list[Path], folder: Path, source: str) -> Path:
    if len(found) > 1:
        names = ", ".join(sorted(path.relative_to(folder).as_posix() for path in found)[:5])
        raise SourceError(f"source {source!r} holds {len(found)} manifests ({names}): give an archive of one model")
    return found[0]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_MANIFEST_BYTES)


def _check_named(root: Path, name: str, what: str) -> None:
    if not is_inside(name):
        raise SourceError(f"{what}, which leads out of the archive", member=name)
    if not (root / name).is_file():
        raise SourceError(f"{what}, which is not in the archive", member=name)


def _where(source: str, name: str) -> str:
    return f"source {source!r}: {name!r}"


def _signature(root: Path, name: str, source: str) -> ArchiveSignature | None:
    return read_signature(root / name, _where(source, name)) if (root / name).is_file() else None


def _labels(root: Path, manifest: ArchiveManifest, source: str) -> tuple[str, ...] | None:
    """Of the server's own file first, since folders are moved between servers."""
    readers = {SYNSET_FILE: read_synset, INDEX_FILE: read_index}
    names = [SYNSET_FILE, INDEX_FILE] if manifest.server == "mms" else [INDEX_FILE, SYNSET_FILE]
    name = next((name for name in names if (root / name).is_file()), None)
    return readers[name](root / name, _where(source, name)) if name else None


def looks_like_archive(source: Path) -> bool:
    """Whether `source` is an archive of a model server, by its listing and at most a manifest.

    A tar.gz whose manifest does not come within the first MiB counts: nothing else that is served comes as one.
    """
    form = form_of(source)
    try:
        return form is not None and _LISTINGS[form](source)
    except (*DAMAGED, OSError):
        return False


def _is_manifest(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return parts[-2:] == ("MAR-INF", "MANIFEST.json") and len(parts) <= 3


def _lists_zip(source: Path) -> bool:
    with zipfile.ZipFile(source) as archive:
        infos = archive.infolist()
        if any(_is_manifest(info.filename) for info in infos):
            return True
        old = [info for info in infos if PurePosixPath(info.filename).name in _OLD_NAMES and zip_problem(info) is None]
        return any(is_old_manifest(_start(archive, info)) for info in old[:_MOST_CANDIDATES])


def _start(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(LARGEST_MANIFEST_BYTES)


def _lists_tar(source: Path) -> bool:
    with gzip.open(source, "rb") as inflated:
        prefix = inflated.read(_PREFIX_BYTES)
    seen = 0
    with contextlib.suppress(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(prefix), mode="r:") as archive:
        for info in archive:
            seen += 1
            if _is_manifest(info.name) or PurePosixPath(info.name).name in _OLD_NAMES:
                return True
    return seen > 0 and len(prefix) == _PREFIX_BYTES


def _lists_folder(source: Path) -> bool:
    if any(path.is_file() for pattern in (MANIFEST_FILE, f"*/{MANIFEST_FILE}") for path in source.glob(pattern)):
        return True
    old = [path for name in _OLD_NAMES for path in (source / name, *source.glob(f"*/{name}"))]
    return any(path.is_file() and is_old_manifest(_head(path)) for path in old)


_LISTINGS: dict[str, Callable[[Path], bool]] = {"zip": _lists_zip, "tgz": _lists_tar, "folder": _lists_folder}
