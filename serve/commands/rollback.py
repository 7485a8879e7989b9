"""`onegate rollback MODEL`."""

from __future__ import annotations

import click

from serve.commands.changed_model import print_changed
from serve.commands.options import json_option, management_option, model_argument
from serve.management_client import ManagementClient


@click.command()
@model_argument()
@click.option("--to", type=click.IntRange(min=1), help="The record to go to, as `onegate history MODEL` lists them.")
@management_option
@json_option
def command(model: str, to: int | None, client: ManagementClient, as_json: bool) -> None:
    """Make MODEL what was served of it before: versions, traffic, labels, settings.

    Returns when the gateways route so. A rollback of a rollback goes forward again.

    \b
    Example:
      onegate rollback ranker
      onegate rollback ranker --to 3
    """
    print_changed(client.roll_back(model, to), as_json)
