"""The `onegate` command. Each subcommand is one file in `serve/commands/`, imported when it is called.

Exit codes: 0 for success, 1 for a refused or failed operation (one line on standard error says what to do), 2 for wrong
usage.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click
from click.shell_completion import CompletionItem

from model_store.errors import OnegateError
from serve.version import VERSION

COMMANDS = {
    "up": "Start a gateway with the models of a config.",
    "apply": "Make a config the desired state of a running gateway.",
    "status": "Show the models of a running gateway.",
    "top": "Watch models and traffic of a running gateway.",
    "logs": "Show what the processes of a running gateway log.",
    "history": "Show who changed what, and what was served.",
    "rollback": "Go back to what was served of a model before.",
    "traffic": "Share the calls of a model out over its versions.",
    "label": "Move labels of a model to versions.",
    "compare": "Show how far a model's versions are from each other.",
    "infer": "Call a model with a file.",
    "bench": "Measure a served model under load, and suggest how to batch it.",
    "convert": "Convert a source to ONNX, prove it equal, and store it.",
    "import": "Write the config that serves what another server serves.",
    "versions": "List the stored versions of a model.",
    "keys": "Make, list, revoke and rotate the keys of callers.",
    "sign": "Sign a stored version, or make a pair of keys for that.",
    "verify": "Verify that a trusted key signed a stored version.",
    "prune": "Remove from a store what nothing needs.",
    "archive": "Pack, unpack and show archives of MXNet Model Server and TorchServe.",
    "doctor": "Check whether this machine, and a config, are ready to serve.",
    "down": "Drain and end a running gateway.",
    "schema": "Print the JSON schema or the reference page of the config.",
    "completion": "Print what a shell needs to complete this command.",
}
"""Name -> one line of help. The file of the same name in `serve/commands/` holds the command; a word of Python's own
has an underscore behind it there."""


def _module_name(command: str) -> str:
    return f"{command}_" if iskeyword(command) else command


class _LazyGroup(click.Group):
    """Imports a command's module when it is asked for, so that `onegate status` does not wait for Ray."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"serve.commands.{_module_name(cmd_name)}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands from the table: none of them is imported."""
        if incomplete and not incomplete[0].isalnum():
            return super().shell_complete(ctx, incomplete)
        return [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OnegateError as error:
            # Here, as it imports what only commands need.
            from serve.commands.options import refusal_text

            click.echo(f"onegate: {refusal_text(error, ctx.meta)}", err=True)
            ctx.exit(1)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="onegate")
def main() -> None:
    """One inference endpoint for models from every framework.

    \b
    Example:
      onegate up configs/quickstart.yaml
    """
    # Set before anything imports ONNX Runtime, whose builds for Linux (1.31) otherwise keep telemetry of its use.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="onegate: %(message)s")
