"""Packs a folder into an archive that MXNet Model Server or TorchServe takes, the same bytes for the same files.

Names are sorted and times fixed. A folder that has a manifest keeps it, so that what was unpacked packs to the same.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast

import msgspec

from model_store.archive_manifest import LARGEST_MANIFEST_BYTES, Server, current_manifest, decode, read_bounded
from model_store.archives import MANIFEST_FILE, Archive, looks_like_archive, open_archive
from model_store.errors import ConfigError, SourceError, StoreError
from model_store.filesystems import chunks, is_inside, reason
from model_store.members import Allowance, Member, members_of
from model_store.unpacking import LIMITS

PackFormat = Literal["zip", "tgz", "folder"]

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_CREATED = "01/01/1980 00:00:00"
_FILE_MODE = 0o644
_FOLDER_MODE = 0o755
_LARGEST_DEFLATED_BYTES = 1 << 20
"""Larger files are weights, which hardly compress."""


class ManifestFields(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a new manifest says of the model; None for what it leaves out."""

    model_name: str | None = None
    model_version: str | None = None
    handler: str | None = None
    serialized_file: str | None = None
    model_file: str | None = None
    requirements_file: str | None = None
    config_file: str | None = None


def pack(
    folder: Path,
    output: Path,
    fields: ManifestFields,
    server: Server | None = None,
    form: PackFormat = "zip",
    check: Callable[[Archive], None] = lambda _: None,
) -> list[str]:
    """Writes the files of `folder` to `output`, which is replaced; returns their names in the archive, once it opened.

    Where `folder` has a manifest it is kept, with `fields` written over it. A new one is written where it has none, or
    where a `server` is named. `check` is given the archive before it takes its place, and may raise. Raises
    `ConfigError` for an `output` inside of `folder`, `SourceError` for files that no archive may hold or that the
    manifest names wrongly, `StoreError` when `output` can't be written.
    """
    if not folder.is_dir():
        raise SourceError(f"source {str(folder)!r}: expected the folder of a model")
    if output.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"output {str(output)!r} lies in the folder that is packed; name one outside of it")
    manifest = _manifest(folder, fields, server)
    with _replacing(output) as partial, tempfile.TemporaryDirectory(prefix="onegate-pack-") as scratch:
        _WRITERS[form](partial, _prefix(folder, fields, form), _sorted_members(folder, manifest))
        archive = open_archive(partial, Path(scratch) / "archive")
        check(archive)
        return archive.files()


def _manifest(folder: Path, fields: ManifestFields, server: Server | None) -> bytes | None:
    """The manifest to write; None where the folder's own is kept as it is."""
    if server is None and fields == ManifestFields() and looks_like_archive(folder):
        return None
    if server is None and (folder / MANIFEST_FILE).is_file():
        content = _own(folder)
        return _encoded({**content, "model": {**content["model"], **msgspec.to_builtins(fields)}})
    named = msgspec.structs.replace(fields, model_name=fields.model_name or folder.resolve().name)
    versions = dict.fromkeys(("specificationVersion", "implementationVersion", "modelServerVersion"), "1.0")
    own = {"createdOn": _CREATED, "archiverVersion": "1.0"} if server == "torchserve" else versions
    return _encoded({"runtime": "python", "model": msgspec.to_builtins(named), **own})


def _own(folder: Path) -> dict[str, Any]:
    """The folder's manifest as it stands, keys that are not known here included."""
    where = f"source {folder.name!r}: its manifest {MANIFEST_FILE!r}"
    data = read_bounded(folder / MANIFEST_FILE, LARGEST_MANIFEST_BYTES, where)
    current_manifest(data, where)
    return decode(data, dict[str, Any], where)


def _encoded(content: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _sorted_members(folder: Path, manifest: bytes | None) -> Iterator[Member]:
    """The manifest first, as a reader of a tar.gz looks for it; of folders the empty ones only."""
    allowance = Allowance(folder.name, LIMITS.size_bytes, LIMITS.ratio, LIMITS.slack_bytes)
    found = {member.name: member for member in members_of(folder, allowance)}
    if manifest is not None:
        found[MANIFEST_FILE] = Member(MANIFEST_FILE, "file", lambda: io.BytesIO(manifest))
    holding = {str(parent) for name in found for parent in Path(name).parents}
    for name in sorted(found, key=lambda name: (name != MANIFEST_FILE, os.fsencode(name))):
        member = found[name]
        problem = member.problem or (None if is_inside(name) else "has a name that is no plain path")
        if problem:
            raise SourceError(f"source {folder.name!r}: member {name!r} {problem}", member=name)
        if member.kind == "file" or name not in holding:
            yield member


def _prefix(folder: Path, fields: ManifestFields, form: PackFormat) -> str:
    """TorchServe's archiver puts a folder of the model's name around the files of a tar.gz."""
    return f"{fields.model_name or folder.resolve().name}/" if form == "tgz" else ""


@contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """A path beside `output` that takes its place when all went well."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".packing-", dir=output.parent) as folder:
            partial = Path(folder) / output.name
            yield partial
            if output.is_dir() and not output.is_symlink():
                shutil.rmtree(output)
            os.replace(partial, output)
    except OSError as error:
        raise StoreError(f"archive {str(output)!r} can't be written: {reason(error)}") from error


def _write_zip(target: Path, prefix: str, members: Iterator[Member]) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for member in members:
            info = zipfile.ZipInfo(member.name + ("/" if member.kind == "folder" else ""), _ZIP_TIME)
            info.create_system = 3  # Unix, whose mode bits follow
            info.external_attr = (_FOLDER_MODE if member.kind == "folder" else _FILE_MODE) << 16
            if member.kind == "folder":
                archive.writestr(info, b"")
                continue
            with member.open() as stream:
                size_bytes = stream.seek(0, os.SEEK_END)
                stream.seek(0)
                small = size_bytes <= _LARGEST_DEFLATED_BYTES
                info.compress_type = zipfile.ZIP_DEFLATED if small else zipfile.ZIP_STORED
                info.file_size = size_bytes  # tells zipfile whether it needs the fields of large files
                with archive.open(info, "w") as file:
                    _copy(stream, file)


def _write_tar(target: Path, prefix: str, members: Iterator[Member]) -> None:
    with (
        target.open("wb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed,
        tarfile.open(fileobj=cast(IO[bytes], packed), mode="w") as archive,
    ):
        for member in members:
            info = tarfile.TarInfo(prefix + member.name)
            if member.kind == "folder":
                info.type, info.mode = tarfile.DIRTYPE, _FOLDER_MODE
                archive.addfile(info)
                continue
            with member.open() as stream:
                info.size = stream.seek(0, os.SEEK_END)
                stream.seek(0)
                archive.addfile(info, stream)


def _write_folder(target: Path, prefix: str, members: Iterator[Member]) -> None:
    target.mkdir()
    for member in members:
        path = target / member.name
        if member.kind == "folder":
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as stream, path.open("xb") as file:
            _copy(stream, file)


def _copy(stream: IO[bytes], file: IO[bytes]) -> None:
    for chunk in chunks(cast(BinaryIO, stream)):
        file.write(chunk)


_WRITERS: dict[PackFormat, Callable[[Path, str, Iterator[Member]], None]] = {
    "zip": _write_zip,
    "tgz": _write_tar,
    "folder": _write_folder,
}
