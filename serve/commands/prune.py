"""`onegate prune`."""

from __future__ import annotations

import json

import click
import msgspec

from model_store.pruning import Pruned, prune
from serve.commands.config_files import client_of
from serve.commands.options import credential_options, existing_store, json_option, store_option
from serve.control.needed_versions import NeededVersions


@click.command()
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(min=1),
    help="Remove versions too: all but the newest N of each model and those that desired state needs; those that stay "
    "are told, and why.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@store_option
@credential_options
@json_option
def command(keep: int | None, dry_run: bool, store: str, as_json: bool) -> None:
    """Remove from a store the files that no version needs, and nothing that was written in the last 24 hours.

    Others may publish to the store and serve from it meanwhile.

    \b
    Example:
      onegate prune --store ./store --dry-run
      onegate prune --store ./store --keep 5
    """
    opened = existing_store(store)
    if keep is None:
        pruned = prune(opened, dry_run=dry_run)
    else:
        needed = NeededVersions(opened, lambda text: click.echo(f"onegate: {text}", err=True), client_of)
        pruned = prune(opened, keep=keep, needed=needed, dry_run=dry_run)
    if as_json:
        versions = [{"name": name, "version": version} for name, version in pruned.versions]
        kept = msgspec.to_builtins(pruned.kept)
        counts = {"blobs": pruned.blobs, "bytes": pruned.blob_bytes, "leftovers": pruned.leftovers}
        click.echo(
            json.dumps({"dry_run": dry_run, "versions": versions, "kept": kept, **counts, "young": pruned.young})
        )
    else:
        _print(pruned, "would remove" if dry_run else "removed")


def _print(pruned: Pruned, verb: str) -> None:
    for name, version in pruned.versions:
        click.echo(f"{verb} {name} version {version}")
    for kept in pruned.kept:
        click.echo(f"kept {kept.name} version {kept.version}: {kept.reason}")
    click.echo(f"{verb} files that no version needs: {pruned.blobs}, {pruned.blob_bytes / 2**20:.1f} MiB")
    if pruned.leftovers:
        click.echo(f"{verb} leftovers of killed writers: {pruned.leftovers}")
    if pruned.young:
        click.echo(f"files that no version needs and that are younger than 24 hours stay: {pruned.young}")
