"""`onegate traffic MODEL VERSION=PERCENT ..`."""

from __future__ import annotations

import click

from serve.commands.changed_model import pairs, print_changed
from serve.commands.options import json_option, management_option, model_argument
from serve.management_client import ManagementClient


@click.command()
@model_argument()
@click.argument("shares", nargs=-1, required=True, metavar="VERSION=PERCENT...")
@management_option
@json_option
def command(model: str, shares: tuple[str, ...], client: ManagementClient, as_json: bool) -> None:
    """Share the calls of MODEL that name no version out over its versions, in percent.

    Versions that are not named get none. One that is only in the store is loaded first. Returns when the gateways route
    so.

    \b
    Example:
      onegate traffic ranker 2=90 3=10
    """
    print_changed(client.set_traffic(model, {version: _percent(text) for version, text in pairs(shares)}), as_json)


def _percent(text: str) -> int:
    number = text.removesuffix("%")
    if not (number.isascii() and number.isdigit() and len(number) < 4):
        raise click.BadParameter(f"expected VERSION=PERCENT, as 2=90, got {text!r} for the percent")
    return int(number)
