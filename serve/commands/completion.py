"""`onegate completion SHELL`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_ONEGATE_COMPLETE"
"""That click looks at when the shell asks the command."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print what SHELL needs to complete commands, options, and names of models of a running gateway or a local store.

    Models are asked for at the address that the line or ONEGATE_MANAGEMENT names, for half a second at most.

    \b
    Example:
      echo 'eval "$(onegate completion bash)"' >> ~/.bashrc
      echo 'eval "$(onegate completion zsh)"' >> ~/.zshrc
      onegate completion fish > ~/.config/fish/completions/onegate.fish
    """
    found = get_completion_class(shell)
    assert found is not None, "click knows the three"
    context = click.get_current_context()
    complete = found(context.find_root().command, {}, "onegate", VARIABLE)
    # Not `source()`, which starts a bash to look at its version.
    click.echo(complete.source_template % complete.source_vars())
