"""`onegate apply CONFIG`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from serve.commands.options import config_argument, fail, json_option, management_option, port_options
from serve.commands.progress import progress, unsettled
from serve.config import load_config
from serve.management_client import ManagementClient

_SIGNS = {"add": "+", "change": "~", "retire": "-", "keep": "="}
POLL_S = 0.2


@click.command()
@config_argument
@click.option("--plan", "only_plan", is_flag=True, help="Only print what would change.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Return when all models are ready or failed.")
@click.option("--store", help="Instead of the config's store.")
@port_options
@management_option
@json_option
def command(
    config: Path,
    only_plan: bool,
    wait: bool,
    client: ManagementClient,
    as_json: bool,
    store: str | None,
    **ports: int | None,
) -> None:
    """Make CONFIG the desired state of the running gateway: plan, then change what differs.

    \b
    Example:
      onegate apply configs/quickstart.yaml --plan
    """
    overrides = {"store": store, **{f"gateway.{name}": port for name, port in ports.items()}}
    answer = client.put_config(load_config(config, overrides=overrides).document(), only_plan=only_plan)
    if not as_json:
        _print_changes(answer["changes"])
    failed = [] if only_plan or not wait else _wait_until_settled(client)
    if as_json:
        click.echo(json.dumps(answer))
    for row in failed:
        click.echo(f"onegate: model {row['name']!r}: {row['reason']}", err=True)
    if failed:
        fail()


def _print_changes(changes: list[dict[str, Any]]) -> None:
    for change in changes:
        click.echo(f"{_SIGNS[change['action']]} {change['model']}")
        for line in change["details"]:
            click.echo(f"    {line}")
    if all(change["action"] == "keep" for change in changes):
        click.echo("nothing changes")


def _wait_until_settled(client: ManagementClient) -> list[dict[str, Any]]:
    """Waits for the models; returns those that failed."""
    with progress() as line:
        while (missing := unsettled(state := client.state())) is not None:
            line.show(missing)
            time.sleep(POLL_S)
    return [row for row in state["models"] if row["reason"] is not None]
