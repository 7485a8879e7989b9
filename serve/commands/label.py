"""`onegate label MODEL LABEL=VERSION ..`."""

from __future__ import annotations

import click

from serve.commands.changed_model import pairs, print_changed
from serve.commands.options import json_option, management_option, model_argument
from serve.management_client import ManagementClient


@click.command()
@model_argument()
@click.argument("labels", nargs=-1, metavar="LABEL=VERSION...")
@click.option("--remove", "removed", multiple=True, metavar="LABEL", help="Take this label away.")
@management_option
@json_option
def command(
    model: str, labels: tuple[str, ...], removed: tuple[str, ...], client: ManagementClient, as_json: bool
) -> None:
    """Move labels of MODEL to versions, or take them away.

    A version that is only in the store is loaded first. Returns when the gateways route so.

    \b
    Example:
      onegate label ranker stable=2 canary=3
      onegate label ranker --remove canary
    """
    moved: dict[str, str | None] = dict(pairs(labels))
    if both := sorted(moved.keys() & set(removed)):
        raise click.UsageError(f"label {both[0]!r} is to move and to be removed; keep one of them")
    if not moved and not removed:
        raise click.UsageError("expected LABEL=VERSION, or --remove LABEL")
    print_changed(client.set_labels(model, moved | dict.fromkeys(removed)), as_json)
