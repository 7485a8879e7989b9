"""`onegate archive`: packs, unpacks and shows archives of MXNet Model Server and TorchServe."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
from rich.table import Table

from converters.archive.payloads import find_payload
from converters.archive.services import CustomHandler, is_torchserves_own, service_of
from model_store.archive_manifest import Server
from model_store.archives import Archive, looks_like_archive, open_archive
from model_store.errors import ConfigError, SourceError
from model_store.packing import ManifestFields, PackFormat, pack
from serve.commands.options import json_option
from serve.commands.tables import console

MOST_FILES_SHOWN = 20

_folder_argument = click.argument("folder", type=click.Path(path_type=Path))
_source_argument = click.argument("source", type=click.Path(exists=True, path_type=Path))
_force_option = click.option("--force", is_flag=True, help="Replace what is there.")


@click.group()
def command() -> None:
    """Pack, unpack and show archives of MXNet Model Server and TorchServe.

    \b
    Example:
      onegate archive show squeezenet.mar
      onegate archive unpack squeezenet.mar squeezenet
      onegate archive pack squeezenet --output squeezenet.mar --handler mxnet_vision_service:handle
    """


@command.command("pack")
@_folder_argument
@click.option("--output", required=True, type=click.Path(path_type=Path), help="The archive, as net.mar.")
@click.option("--name", "model_name", help="Name of the model; by default that of the folder.")
@click.option("--version", "model_version", help="Version of the model, as 1.0.")
@click.option(
    "--handler",
    help="module:function or the file of a handler, in the folder, or the name of one of the server's own. Without "
    "one, onegate serves tensors and JSON bodies, and the other servers want it named when the model is registered.",
)
@click.option("--serialized-file", metavar="FILE", help="TorchServe: the weights or program, in the folder.")
@click.option("--model-file", metavar="FILE", help="TorchServe: the code of the network, in the folder.")
@click.option("--requirements-file", metavar="FILE", help="TorchServe: what pip installs, in the folder.")
@click.option("--config-file", metavar="FILE", help="TorchServe: the model-config.yaml, in the folder.")
@click.option("--server", type=click.Choice(get_args(Server)), help="Whose manifest to write. [default: mms]")
@click.option("--format", "form", type=click.Choice(get_args(PackFormat)), default="zip", show_default=True)
@_force_option
def pack_command(
    folder: Path, output: Path, server: Server | None, form: PackFormat, force: bool, **fields: str | None
) -> None:
    """Pack the model in FOLDER, the same bytes for the same files, and check that the archive opens.

    A folder that has a manifest keeps it, with what options say written over it, unless --server asks for a new one.

    \b
    Example:
      onegate archive pack squeezenet --output squeezenet.mar --handler mxnet_vision_service:handle
      onegate archive pack net --output net.mar --server torchserve --serialized-file net.pt --handler image_classifier
    """
    _check_free(output, force)
    names = pack(folder, output, ManifestFields(**fields), server, form, _check_handler)
    click.echo(f"packed {len(names)} files into {output}")


@command.command("unpack")
@_source_argument
@_folder_argument
@_force_option
def unpack_command(source: Path, folder: Path, force: bool) -> None:
    """Unpack the archive SOURCE into FOLDER.

    Paths that lead out of it, links, devices and bombs are refused; then nothing is written.

    \b
    Example:
      onegate archive unpack squeezenet.mar squeezenet
    """
    _check_free(folder, force)
    with tempfile.TemporaryDirectory(prefix=".onegate-unpack-", dir=_existing(folder.absolute().parent)) as scratch:
        archive = open_archive(source, Path(scratch) / "archive")
        count = len(archive.files())
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove(folder)
        # A tar.gz has a folder around its files; what its manifest describes is what is wanted.
        archive.folder.rename(folder)
    click.echo(f"unpacked {count} files into {folder}")


@command.command("show")
@_source_argument
@json_option
def show_command(source: Path, as_json: bool) -> None:
    """Show what the archive SOURCE holds and how it would be served.

    \b
    Example:
      onegate archive show squeezenet.mar
    """
    if not looks_like_archive(source):
        raise SourceError(f"source {source.name!r} is no archive of MXNet Model Server or TorchServe")
    with tempfile.TemporaryDirectory(prefix="onegate-archive-", ignore_cleanup_errors=True) as scratch:
        archive = open_archive(source, Path(scratch) / "archive")
        shown = _shown(archive, Path(scratch))
    if as_json:
        click.echo(json.dumps(shown))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, value in shown.items():
        table.add_row(key, _text(value))
    console().print(table)


def _check_handler(archive: Archive) -> None:
    """Raises `SourceError` where the handler is not there; one that only TorchServe has is told, as it may be meant
    for that."""
    try:
        service_of(archive)
    except SourceError as error:
        if not is_torchserves_own(archive.manifest):
            raise
        click.echo(f"onegate: {error.message}", err=True)


def _shown(archive: Archive, scratch: Path) -> dict[str, Any]:
    manifest = msgspec.to_builtins(archive.manifest)
    return {
        **{key: value for key, value in manifest.items() if value not in (None, {})},
        "served_as": _served_as(archive),
        "model": _model(archive, scratch),
        "signature": msgspec.to_builtins(archive.signature),
        "config": json.loads(json.dumps(archive.config, default=str)),
        "labels": len(archive.labels or ()),
        "files": archive.files(),
    }


def _served_as(archive: Archive) -> str:
    try:
        service = service_of(archive)
    except SourceError as error:
        return error.message
    if isinstance(service, CustomHandler):
        return f"its own code in {service.file.relative_to(archive.folder).as_posix()}, which needs trust"
    return type(service.processor).__name__ if service.processor is not None else "tensors"


def _model(archive: Archive, scratch: Path) -> str:
    try:
        payload = find_payload(archive, scratch)
    except SourceError as error:
        return error.message
    inside = payload.is_relative_to(archive.folder)
    return payload.relative_to(archive.folder).as_posix() if inside else str(archive.manifest.parameters_file)


def _text(value: Any) -> str:
    if isinstance(value, list):
        rest = len(value) - MOST_FILES_SHOWN
        return "\n".join([*map(str, value[:MOST_FILES_SHOWN]), *([f"and {rest} more"] if rest > 0 else [])])
    return json.dumps(value) if isinstance(value, dict) else "-" if value is None else str(value)


def _check_free(path: Path, force: bool) -> None:
    if not force and (path.is_symlink() or path.exists()) and not (path.is_dir() and not any(path.iterdir())):
        raise ConfigError(f"{str(path)!r} exists; name another one, or say --force to replace it")


def _existing(folder: Path) -> Path:
    """The nearest folder above that is there: a refusal leaves no new ones behind."""
    return folder if folder.is_dir() else _existing(folder.parent)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
