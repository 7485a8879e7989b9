"""`onegate versions MODEL`."""

from __future__ import annotations

import json

import click
import msgspec

from model_store.manifest import Manifest
from serve.commands.options import (
    VersionNumber,
    existing_store,
    json_option,
    newest_version,
    store_option,
    stored_model_argument,
)
from serve.commands.parity_report import print_report
from serve.commands.tables import console, headed


@click.command()
@stored_model_argument()
@click.option("--version", type=VersionNumber(), metavar="N", help="Show the whole report of this version.")
@store_option
@json_option
def command(model: str, version: int | None, store: str, as_json: bool) -> None:
    """List the stored versions of MODEL with their parity reports.

    \b
    Example:
      onegate versions digits --store ./store
      onegate versions digits --version 2 --store ./store
    """
    opened = existing_store(store)
    if version is not None and not as_json:
        manifest = opened.manifest(model, version)
        click.echo(f"{model} version {version}: {manifest.framework} {manifest.source_name}, {manifest.created}")
        print_report(manifest)
        return
    newest_version(opened, model)
    numbers = opened.versions(model)
    manifests = [opened.manifest(model, number) for number in (numbers if version is None else [version])]
    if as_json:
        click.echo(json.dumps([msgspec.to_builtins(manifest) for manifest in manifests]))
        return
    what = ("VERSION", "CREATED", "SOURCE", "FRAMEWORK -> RUNTIME")
    table = headed(*what, "PARITY ERROR", "ROWS INDEPENDENT", "SECONDS")
    for manifest in manifests:
        table.add_row(*_cells(manifest))
    console().print(table)


def _cells(manifest: Manifest) -> tuple[str, ...]:
    return (
        str(manifest.version),
        manifest.created,
        manifest.source_name,
        f"{manifest.framework} -> {manifest.runtime}",
        f"{manifest.parity.max_rel_error:.1e}" if manifest.parity else "",
        "yes" if manifest.row_independent else "no",
        f"{manifest.seconds:.1f}",
    )
