"""How many commands README and the pages of `docs/migrate/` ask for; `make newcomer` types and times them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.newcomer import MOST_COMMANDS, migration_commands, readme_commands
from tests.pages.blocks import ROOT, page_name

MIGRATIONS = sorted((ROOT / "docs/migrate").glob("*.md"))


def test_the_quickstart_takes_one_command_and_a_call() -> None:
    serve, ask = (command for command, _ in readme_commands())
    assert serve == "make run"
    assert ask.startswith("curl ")


@pytest.mark.parametrize("page", MIGRATIONS, ids=page_name)
def test_a_move_takes_one_command_and_the_clients_own_call(page: Path) -> None:
    commands = [command for command, _ in migration_commands(page)]
    assert len(commands) <= MOST_COMMANDS
    assert commands[0].startswith("onegate up ")
    assert commands[-1].startswith("curl ")
