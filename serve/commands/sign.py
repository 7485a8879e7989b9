"""`onegate sign MODEL`, and `onegate sign --new-key FILE`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from model_store.signing import sign
from model_store.signing_keys import read_private_key, write_new_pair
from serve.commands.options import (
    VersionNumber,
    existing_store,
    json_option,
    newest_version,
    store_option,
    stored_model_argument,
)


@click.command()
@stored_model_argument(required=False)
@click.argument("version", type=VersionNumber(), required=False)
@click.option("--private-key", metavar="FILE", type=click.Path(path_type=Path), help="Sign with the key in this file.")
@click.option(
    "--new-key",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Make a pair of keys first: FILE, for yourself alone, and FILE.pub for who verifies.",
)
@store_option
@json_option
def command(
    model: str | None, version: int | None, private_key: Path | None, new_key: Path | None, store: str, as_json: bool
) -> None:
    """Sign a stored VERSION of MODEL, by default the newest, so that a gateway that asks for it serves it.

    \b
    Example:
      onegate sign --new-key release.pem
      onegate sign digits --private-key release.pem --store ./store
    """
    if (private_key is None) == (new_key is None) or (model is None and new_key is None):
        raise click.UsageError("expected MODEL with --private-key FILE or --new-key FILE, or --new-key FILE alone")
    told: dict[str, object] = {}
    if new_key is not None:
        private_key, public_key = write_new_pair(new_key)
        told |= {"private_key": str(private_key), "public_key": str(public_key)}
        if not as_json:
            click.echo(f"{private_key}: keep it to yourself; {public_key}: for who verifies")
    if model is not None and private_key is not None:
        opened = existing_store(store)
        number = version or newest_version(opened, model)
        key = sign(opened, model, number, read_private_key(private_key))
        told |= {"name": model, "version": number, "key": key}
        if not as_json:
            click.echo(f"{model} version {number}: signed by key {key}")
    if as_json:
        click.echo(json.dumps(told))
