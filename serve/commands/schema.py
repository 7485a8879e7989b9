"""`onegate schema`."""

from __future__ import annotations

import json

import click

from serve.config_sections.reference import json_schema, render_reference


@click.command()
@click.option("--markdown", is_flag=True, help="Print the reference page instead.")
def command(markdown: bool) -> None:
    """Print the JSON schema of the config, for editors and checks.

    \b
    Example:
      onegate schema > onegate.schema.json
    """
    click.echo(render_reference().rstrip("\n") if markdown else json.dumps(json_schema(), indent=2))
