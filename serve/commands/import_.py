"""`onegate import PATH`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from model_store.errors import ConfigError, SourceError
from serve.commands.options import json_option
from serve.importing.base import Leftover
from serve.importing.config_text import config_text, document
from serve.importing.servers import SERVERS, read_server


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--from", "server", type=click.Choice(list(SERVERS)), help="Whose it is; by default told from its content."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="File to write the config to; by default it is printed."
)
@json_option
def command(path: Path, server: str | None, output: Path | None, as_json: bool) -> None:
    """Write the config that serves what another server serves: the same names, versions, batching and ports.

    PATH is a Triton model repository, a models.config or base path of TensorFlow Serving, or a config.properties or
    model store of TorchServe or MXNet Model Server. What has no counterpart is listed on standard error.

    \b
    Example:
      onegate import /models --output onegate.yaml
    """
    if output is not None and output.exists():
        raise ConfigError(f"{str(output)!r} is there already; name another --output, or remove it first")
    imported = read_server(path, server)
    text = config_text(imported, output.resolve().parent if output is not None else None)
    leftovers = imported.all_leftovers()
    if all(model.mapping is None for model in imported.models):
        _print_table(leftovers)
        raise SourceError(f"{str(path)!r}: none of its {len(imported.models)} models can be served")
    if output is not None:
        output.write_text(text, encoding="utf-8")
    if as_json:
        answer = {"server": imported.server, "config": document(imported), "yaml": text}
        told = {"without_counterpart": leftovers, "output": None if output is None else str(output)}
        click.echo(json.dumps(msgspec.to_builtins(answer | told)))
        return
    if output is None:
        click.echo(text, nl=False)
    _print_table(leftovers)


def _print_table(leftovers: list[Leftover]) -> None:
    if not leftovers:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("MODEL", "FILE", "KEY", "HAS NO COUNTERPART"):
        table.add_column(heading, overflow="fold")
    for each in leftovers:
        # Text and not str, in which brackets would be taken for markup.
        table.add_row(*map(Text, (each.model or "", each.file, each.key, each.reason)))
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else 200
    Console(stderr=True, width=max(width, 80), highlight=False).print(table)
