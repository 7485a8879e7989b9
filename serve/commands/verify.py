"""`onegate verify MODEL`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from model_store.signing import verify
from model_store.signing_keys import public_key_of, read_key_file
from serve.commands.options import (
    VersionNumber,
    existing_store,
    json_option,
    newest_version,
    store_option,
    stored_model_argument,
)


@click.command()
@stored_model_argument()
@click.argument("version", type=VersionNumber(), required=False)
@click.option(
    "--public-key",
    "public_keys",
    metavar="FILE",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="A key that is trusted; may be given several times, and one that signed is enough.",
)
@store_option
@json_option
def command(model: str, version: int | None, public_keys: tuple[Path, ...], store: str, as_json: bool) -> None:
    """Verify that a trusted key signed a stored VERSION of MODEL, by default the newest, and that all its files are as
    they were then.

    \b
    Example:
      onegate verify digits --public-key release.pem.pub --store ./store
    """
    keys = [public_key_of(read_key_file(path), str(path)) for path in public_keys]
    opened = existing_store(store)
    manifest = opened.manifest(model, version or newest_version(opened, model))
    key = verify(opened, manifest, keys)
    opened.check(manifest)
    if as_json:
        click.echo(json.dumps({"name": model, "version": manifest.version, "key": key, "files": len(manifest.files)}))
    else:
        click.echo(f"{model} version {manifest.version}: signed by key {key}; files as signed: {len(manifest.files)}")
