"""Manifests of model archives: MXNet Model Server 1.0, TorchServe, and Model Server 0.4, as one.

Two keys decide whose an archive is, as both servers name the file alike. Which of the files that a manifest names are
there is `archives.py`'s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from model_store.errors import SourceError, first_line
from model_store.filesystems import reason

LARGEST_MANIFEST_BYTES = 1 << 20

Server = Literal["mms", "torchserve"]


class ArchiveManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says, whichever server it is for. What it leaves out, or leaves empty, is None."""

    server: Server
    layout: Literal["1.0", "0.4"] = "1.0"
    name: str | None = None
    version: str | None = None
    handler: str | None = None
    """`module:function`, the file of a module, or the name of a handler that the server brings."""
    runtime: str | None = None
    """`python`, `python2`, `python3`, or `LSP`."""
    serialized_file: str | None = None
    model_file: str | None = None
    requirements_file: str | None = None
    config_file: str | None = None
    symbol_file: str | None = None
    parameters_file: str | None = None
    signature_file: str | None = None
    model_format: str | None = None
    """Of 0.4: `MXNet-Symbolic` or `Gluon-Imperative`."""
    extensions: dict[str, Any] = {}

    def named_files(self) -> dict[str, str]:
        """Field -> name, of the files that must be there; the handler may be the server's own."""
        fields = [field for field in self.__struct_fields__ if field.endswith("_file")]
        return {field: name for field in fields if (name := getattr(self, field))}


class _Model(msgspec.Struct, frozen=True, rename="camel"):
    model_name: str | None = None
    model_version: str | int | float | None = None
    handler: str | None = None
    serialized_file: str | None = None
    model_file: str | None = None
    requirements_file: str | None = None
    config_file: str | None = None
    extensions: dict[str, Any] | None = None


class _Current(msgspec.Struct, frozen=True, rename="camel"):
    """`MAR-INF/MANIFEST.json`."""

    model: _Model
    runtime: str | None = None
    specification_version: Any = None
    engine: Any = None
    created_on: Any = None
    archiver_version: Any = None


class _OldModel(msgspec.Struct, frozen=True):
    name: str | None = msgspec.field(default=None, name="Model-Name")
    format: str | None = msgspec.field(default=None, name="Model-Format")
    service: str | None = msgspec.field(default=None, name="Service")
    symbol: str | None = msgspec.field(default=None, name="Symbol")
    parameters: str | None = msgspec.field(default=None, name="Parameters")
    signature: str | None = msgspec.field(default=None, name="Signature")


class _Old(msgspec.Struct, frozen=True):
    """`MANIFEST.json` of 0.4, `manifest.json` before."""

    model: _OldModel = msgspec.field(name="Model")


def current_manifest(data: bytes, where: str) -> ArchiveManifest:
    """The manifest of MMS 1.0 or TorchServe in `data`; raises `SourceError`, which begins with `where`."""
    found = decode(data, _Current, where)
    model = found.model
    version = model.model_version
    extensions = model.extensions or {}
    manifest = ArchiveManifest(
        server=_server_of(found),
        name=model.model_name or None,
        version=str(version) if version not in (None, "") else None,
        handler=model.handler or None,
        runtime=found.runtime or None,
        serialized_file=model.serialized_file or None,
        model_file=model.model_file or None,
        requirements_file=model.requirements_file or None,
        config_file=model.config_file or None,
        symbol_file=_text(extensions, "symbolFile", where),
        parameters_file=_text(extensions, "parametersFile", where),
        extensions=extensions,
    )
    return _checked(manifest, where)


def _checked(manifest: ArchiveManifest, where: str) -> ArchiveManifest:
    """Messages and logs repeat what it says, so that a line break or an escape has no place there."""
    for field in manifest.__struct_fields__:
        value = getattr(manifest, field)
        if isinstance(value, str) and not value.isprintable():
            raise SourceError(f"{where}: expected text of one line as {field.replace('_', ' ')}, got {value[:60]!r}")
    return manifest


def _server_of(manifest: _Current) -> Server:
    """By the keys that only one of them writes. The first archivers of TorchServe wrote a `specificationVersion` too,
    beside model files that MMS has no keys for."""
    model = manifest.model
    if manifest.created_on is not None or manifest.archiver_version is not None:
        return "torchserve"
    if manifest.engine is None and any((model.serialized_file, model.model_file, model.requirements_file)):
        return "torchserve"
    return "mms"


def old_manifest(data: bytes, where: str) -> ArchiveManifest:
    """The manifest of MMS 0.4 in `data`, migrated as MMS 1.0 does it; raises `SourceError`."""
    model = decode(data, _Old, where).model
    manifest = ArchiveManifest(
        server="mms",
        layout="0.4",
        name=model.name or None,
        version="snapshot",
        handler=model.service or None,
        runtime="python",
        symbol_file=model.symbol or None,
        parameters_file=model.parameters or None,
        signature_file=model.signature or None,
        model_format=model.format or None,
    )
    return _checked(manifest, where)


def is_old_manifest(data: bytes) -> bool:
    """Whether `data` is the manifest of an MMS 0.4 archive: other things are called `manifest.json` too."""
    try:
        old_manifest(data, "")
    except SourceError:
        return False
    return b'"Symbol"' in data or b'"Service"' in data or b'"Model-Format"' in data


def _text(extensions: dict[str, Any], key: str, where: str) -> str | None:
    value = extensions.get(key)
    if value is not None and not isinstance(value, str):
        raise SourceError(f"{where}: expected text at extensions.{key}, got {type(value).__name__}")
    return value or None


T = TypeVar("T")


def decode(data: bytes, kind: type[T], where: str) -> T:
    """JSON as a value of `kind`; raises `SourceError` that begins with `where`."""
    try:
        # Editors on Windows put a byte order mark in front.
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SourceError(f"{where} is not what it should be: {first_line(error)}") from error


def read_bounded(path: Path, limit_bytes: int, where: str) -> bytes:
    """The bytes of a small file; raises `SourceError` for one of more than `limit_bytes`, or that can't be read."""
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise SourceError(f"{where} can't be read: {reason(error)}") from error
    if len(data) > limit_bytes:
        raise SourceError(f"{where}: expected at most {limit_bytes >> 10} KiB, got more")
    return data
