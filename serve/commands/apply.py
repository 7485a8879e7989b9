"""`onegate apply CONFIG`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from serve.commands.awaited_rollouts import begun_rollouts, ends_of, patient
from serve.commands.config_files import client_of, read_config
from serve.commands.imported import trust_option
from serve.commands.options import config_argument, fail, json_option, management_of_config_option, port_options
from serve.commands.plan_report import changes_something, failures, print_plan
from serve.commands.progress import progress, unsettled
from serve.commands.rollout_report import ended_line, rollout_line
from serve.management_client import ManagementClient

POLL_S = 0.2
DIFFERS = 3
"""Exit code of a plan that would change something, for those who ask for one."""


@click.command()
@config_argument
@click.option("--plan", "only_plan", is_flag=True, help="Only print what would change.")
@click.option(
    "--exit-code",
    is_flag=True,
    help=f"With --plan: exit 1 where a model would fail, else {DIFFERS} where something would change.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Return when all models are ready or failed.")
@click.option(
    "--wait-rollout",
    is_flag=True,
    help="Return when the rollouts have ended too; exit 1 where one went back or was stopped.",
)
@click.option("--store", help="Instead of the config's store.")
@trust_option
@port_options
@management_of_config_option
@json_option
def command(
    config: Path,
    only_plan: bool,
    exit_code: bool,
    wait: bool,
    wait_rollout: bool,
    client: ManagementClient | None,
    as_json: bool,
    store: str | None,
    trusted: tuple[str, ...],
    **ports: int | None,
) -> None:
    """Make CONFIG the desired state of the running gateway: plan, then change what differs.

    CONFIG is a YAML file, or what another server was configured with, as for `onegate up`.

    Desired state that somebody else changed between the plan and the change is left alone. Exits 1 when a model could
    not be prepared or loaded; what it served before goes on. With --json, `rollouts` are those that have begun, with
    --wait-rollout as they have ended.

    \b
    Example:
      onegate apply configs/quickstart.yaml --plan
    """
    if exit_code and not only_plan:
        raise click.UsageError("--exit-code goes with --plan")
    if wait_rollout and (only_plan or not wait):
        raise click.UsageError("--wait-rollout goes with neither --plan nor --no-wait")
    overrides = {"store": store, **{f"gateway.{name}": port for name, port in ports.items()}}
    given = read_config(config, overrides=overrides, trusted=trusted)
    given.tell()
    client = client or client_of(given.config)
    document = given.config.document()
    answer = client.put_config(document, only_plan=True)
    if not as_json:
        print_plan(answer["changes"])
    troubles: list[str] = []
    if not only_plan:
        # Somebody who changed desired state since the plan was made goes first: it isn't the plan that was shown.
        answer = client.put_config(document, generation=answer["generation"])
        rollouts, troubles = _outcome(client, answer["generation"], wait_rollout, as_json) if wait else ([], [])
        answer |= {"rollouts": rollouts}
    if as_json:
        click.echo(json.dumps(answer))
    for trouble in troubles:
        click.echo(f"onegate: {trouble}", err=True)
    if troubles:
        fail()
    if exit_code:
        _fail_by(answer["changes"])


def _fail_by(changes: list[dict[str, Any]]) -> None:
    """Ends the command by what is planned: in one way where a model would fail, in another where something changes."""
    failed = failures(changes)
    for text in failed:
        click.echo(f"onegate: {text}", err=True)
    if failed:
        fail()
    if changes_something(changes):
        fail(DIFFERS)


def _outcome(
    client: ManagementClient, generation: int, wait_rollout: bool, as_json: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rollouts, and what went wrong with models and, if they are waited for, with rollouts."""
    look = patient(client.state) if wait_rollout else client.state
    state = _settled(look)
    failed = [row for row in state["models"] if row["reason"] is not None]
    names = {row["name"] for row in failed}
    rollouts = [each for each in begun_rollouts(state, generation) if each["model"] not in names]
    for rollout in () if as_json else rollouts:
        click.echo(ended_line(rollout) if "ended" in rollout else rollout_line(rollout))
    troubles = [f"model {row['name']!r}: {row['reason']}" for row in failed]
    if wait_rollout:
        told, rollouts = rollouts, ends_of(rollouts, look)
        troubles += [ended_line(each) for each in rollouts if each["state"] != "finished"]
        for rollout in () if as_json else rollouts:
            if rollout["state"] == "finished" and rollout not in told:
                click.echo(ended_line(rollout))
    return rollouts, troubles


def _settled(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The state, as `look` gives it, in which all models are ready or failed, or their rollouts have begun."""
    with progress() as line:
        while (missing := unsettled(state := look())) is not None:
            line.show(missing)
            time.sleep(POLL_S)
    return state
