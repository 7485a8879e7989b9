"""`onegate import PATH`."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from model_store.errors import ConfigError
from serve.commands.imported import print_leftovers, require_served, trust_option
from serve.commands.options import json_option
from serve.importing.config_text import config_text, document
from serve.importing.servers import SERVERS, read_server
from serve.importing.trust import with_trust


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--from", "server", type=click.Choice(list(SERVERS)), help="Whose it is; by default told from its content."
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="File to write the config to; by default it is printed."
)
@trust_option
@json_option
def command(path: Path, server: str | None, output: Path | None, trusted: tuple[str, ...], as_json: bool) -> None:
    """Write the config that serves what another server serves: the same names, versions, batching and ports.

    PATH is a Triton model repository, a models.config or base path of TensorFlow Serving, or a config.properties or
    model store of TorchServe or MXNet Model Server. What has no counterpart is listed on standard error.
    `onegate up PATH` serves it at once, without a config of your own.

    \b
    Example:
      onegate import /models --output onegate.yaml
    """
    if output is not None and output.exists():
        raise ConfigError(f"{str(output)!r} is there already; name another --output, or remove it first")
    imported = with_trust(read_server(path, server), trusted)
    require_served(imported, path)
    text = config_text(imported, output.resolve().parent if output is not None else None)
    leftovers = imported.all_leftovers()
    if output is not None:
        output.write_text(text, encoding="utf-8")
    if as_json:
        answer = {"server": imported.server, "config": document(imported), "yaml": text}
        told = {"without_counterpart": leftovers, "output": None if output is None else str(output)}
        click.echo(json.dumps(msgspec.to_builtins(answer | told)))
        return
    if output is None:
        click.echo(text, nl=False)
    print_leftovers(leftovers)
