"""What commands say of another server's configuration that they have read."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from model_store.errors import SourceError
from serve.commands.tables import headed
from serve.importing.base import Imported, Leftover


def trust_option(function: Any) -> Any:
    """`--trust MODEL`, as often as there are models to trust; the command gets their names as `trusted`."""
    return click.option(
        "--trust",
        "trusted",
        multiple=True,
        metavar="MODEL",
        help="Code that this model of another server brings may run: a handler, a pickle. May be given several times.",
    )(function)


def print_leftovers(leftovers: Iterable[Leftover]) -> None:
    """A table on standard error of what has no counterpart; nothing where all has one."""
    rows = [(each.model or "", each.file, each.key, each.reason) for each in leftovers]
    if not rows:
        return
    headings = ("MODEL", "FILE", "KEY", "HAS NO COUNTERPART")
    table = headed(*headings, folded=headings)
    for row in rows:
        # Text and not str, in which brackets would be taken for markup.
        table.add_row(*map(Text, row))
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else 200
    Console(stderr=True, width=max(width, 80), highlight=False).print(table)


def require_served(imported: Imported, path: Path) -> None:
    """Raises `SourceError`, with the reasons on standard error, where no model of `path` can be served.

    A server that starts without models has them registered later.
    """
    if imported.models and not imported.any_served():
        print_leftovers(imported.all_leftovers())
        raise SourceError(f"{str(path)!r}: none of its {len(imported.models)} models can be served")
