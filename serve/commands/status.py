"""`onegate status`."""

from __future__ import annotations

import json

import click

from serve.commands.options import json_option, management_option
from serve.commands.rollout_report import ended_line, rollout_line, was_sent_back
from serve.management_client import ManagementClient


@click.command()
@management_option
@json_option
def command(client: ManagementClient, as_json: bool) -> None:
    """Show the models of the running gateway: state, version, executor, parity error, traffic, address.

    \b
    Example:
      onegate status --json
    """
    state = client.state()
    if as_json:
        click.echo(json.dumps(state))
        return
    from serve.commands.tables import console, device_lines, model_table

    console().print(model_table(state))
    for rollout in state.get("rollouts", ()):
        click.echo(rollout_line(rollout))
    for ended in filter(was_sent_back, state.get("ended_rollouts", ())):
        click.echo(ended_line(ended))
    for line in device_lines(state):
        click.echo(f"onegate: {line}", err=True)
