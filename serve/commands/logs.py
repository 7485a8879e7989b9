"""`onegate logs [MODEL]`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import click

from model_store.errors import ModelNotReady
from serve.commands.durations import duration
from serve.commands.model_names import check_known
from serve.commands.options import json_option, management_option, model_argument
from serve.control.process_logs import MAX_TOLD
from serve.management_client import ManagementClient

FOLLOW_S = 0.5


def _since(context: click.Context, parameter: click.Parameter, value: str | None) -> datetime | None:
    """A length of time ago, or a time, in UTC where it names no zone."""
    if value is None:
        return None
    with suppress(ValueError):
        given = datetime.fromisoformat(value)
        return given if given.tzinfo else given.replace(tzinfo=UTC)
    try:
        return datetime.now(UTC) - duration(value)
    except click.BadParameter as error:
        raise click.BadParameter(f"expected a time as 2026-01-02T03:04:05Z, or {error.message[9:]}") from error


@click.command()
@model_argument(required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on with the lines that come, until Ctrl-C.")
@click.option("--since", metavar="10m", callback=_since, help="Only lines since then: 10m, 2h, or a time.")
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_TOLD),
    default=MAX_TOLD,
    show_default=True,
    help="Most lines to show of those that there are; the newest.",
)
@management_option
@json_option
def command(
    model: str | None, follow: bool, since: datetime | None, limit: int, client: ManagementClient, as_json: bool
) -> None:
    """Show what the processes of the running gateway log, oldest first: warnings and errors.

    With MODEL only lines of its replicas, and those of other processes that name it. The gateway keeps the newest lines
    of the processes that run, some thousands. --json prints an object a line.

    \b
    Example:
      onegate logs --since 10m
      onegate logs ranker --follow
    """
    answer = client.logs(model, since=since, limit=limit)
    if model is not None and not (answer["lines"] or client.logs(model, limit=1)["lines"]):
        check_known(client, model)
    if not follow:
        for line in answer["lines"]:
            _print(line, as_json)
        return
    with suppress(KeyboardInterrupt):
        for line in _following(client, answer, model, since):
            _print(line, as_json)
            sys.stdout.flush()


def _following(
    client: ManagementClient, answer: dict[str, Any], model: str | None, since: datetime | None
) -> Iterator[dict[str, Any]]:
    """The lines of `answer`, and then what comes, also from a controller that takes the place of another. While a call
    fails, that is said once."""
    newest, away = "", False
    while True:
        for line in answer["lines"]:
            newest = max(newest, line["time"])
            yield line
        time.sleep(FOLLOW_S)
        try:
            next_answer = client.logs(model, answer["next"], since)
            if next_answer["epoch"] != answer["epoch"]:
                # It reads the same file from its beginning.
                next_answer["lines"] = [line for line in next_answer["lines"] if line["time"] > newest]
            answer, away = next_answer, False
        except ModelNotReady as error:
            answer["lines"] = []
            if not away:
                click.echo(f"onegate: {error.message}; trying on", err=True)
            away = True


def _print(line: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(line))
        return
    click.echo(_printable(f"{line['time']} {line['level']} {line['process']}: {line['text']}"))


def _printable(text: str) -> str:
    """Without what moves a terminal: lines quote what clients have sent."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else repr(letter)[1:-1] for letter in text)
