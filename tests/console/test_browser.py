"""The console in a real browser: Node runs the tests beside this file against `served.py`.

They need Chromium (`apt install chromium`, or `CONSOLE_CHROMIUM`) and what `npm ci` installs in `serve/console/source`.
With `CONSOLE_SCREENSHOTS` pictures of all pages are kept in that folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.browsers import Served, needs_browser, run, served

pytestmark = needs_browser


@pytest.fixture(scope="module")
def open_console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that asks for no key."""
    with served(tmp_path_factory.mktemp("open")) as console:
        yield console


def test_every_page_is_accessible_in_both_themes_and_fits_a_phone(open_console: Served) -> None:
    run("pages.test.mjs", open_console.addresses, open_console.process.pid)


def test_people_find_try_and_change_models(open_console: Served) -> None:
    run("use.test.mjs", open_console.addresses, open_console.process.pid)


def test_keys_hundreds_of_models_and_a_controller_that_goes_away(tmp_path: Path) -> None:
    with served(tmp_path, "--key", "--crowd", "300") as console:
        run("trouble.test.mjs", console.addresses, console.process.pid)
