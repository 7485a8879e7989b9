"""`onegate history [MODEL]`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from rich.table import Table

from serve.commands.model_names import check_known
from serve.commands.options import json_option, management_option, model_argument
from serve.commands.tables import console, headed
from serve.control.history import LIMIT
from serve.differences import told
from serve.management_client import ManagementClient


@click.command()
@model_argument(required=False)
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Most entries to show.")
@management_option
@json_option
def command(model: str | None, limit: int, client: ManagementClient, as_json: bool) -> None:
    """Show who changed desired state, when, why and what, newest first.

    With MODEL only what changed that, the records of what was served of it, which `onegate rollback` goes back to, and
    the steps of its rollouts.

    \b
    Example:
      onegate history
      onegate history ranker
    """
    answer = client.history(model, limit)
    if model is not None and not (answer["generations"] or answer["served"] or answer.get("rollouts")):
        check_known(client, model)
    if as_json:
        click.echo(json.dumps(answer))
        return
    entries = [
        (str(entry["number"]), _when(entry["created"]), entry["by"], entry["why"], _changed(entry))
        for entry in answer["generations"]
    ]
    console().print(_table(("GENERATION", "WHEN", "WHO", "WHY", "CHANGED"), entries))
    if answer["served"]:
        records = [
            (str(record["number"]), _when(record["since"]), record["by"], str(record["generation"]), record["text"])
            for record in answer["served"]
        ]
        console().print()
        console().print(_table(("SERVED", "SINCE", "WHO", "GENERATION", "WHAT"), records))
    if steps := answer.get("rollouts"):
        console().print()
        console().print(_table(("ROLLOUT", "WHEN", "WHO", "VERSION", "STATE", "CALLS", "WHY"), list(map(_step, steps))))


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = headed(*headings, folded=("CHANGED", "WHAT", "WHY"))
    for row in rows:
        table.add_row(*row)
    return table


def _step(step: dict[str, Any]) -> tuple[str, ...]:
    way = f"{step['stable']} -> {step['canary']}"
    # Who began it, and at the end who ended it, where somebody did.
    who = step["by"] if step.get("ended_generation") is None else step["ended_by"]
    return (
        *(str(step["number"]), _when(step["at"]), who, way),
        *(step["state"], f"{step['percent']}%", step["reason"]),
    )


def _when(created: str) -> str:
    """To the second, UTC."""
    return created[:19].replace("T", " ")


def _changed(entry: dict[str, Any]) -> str:
    lines = [line for change in entry["changes"] for line in _change_lines(change)]
    lines += [f"{each['path']}: {told(each['old'])} -> {told(each['new'])}" for each in entry["settings"]]
    return "\n".join(lines) or "nothing"


def _change_lines(change: dict[str, Any]) -> list[str]:
    name = change["model"]
    if change["action"] != "change":
        return [f"{name}: {'added' if change['action'] == 'add' else 'retired'}"]
    return [f"{name}: {each['path']}: {told(each['old'])} -> {told(each['new'])}" for each in change["differences"]]
