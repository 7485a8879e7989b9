"""`make site`: every page is in the navigation, every link leads somewhere, and nothing is fetched from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.pages.blocks import PAGES, ROOT, page_name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make site` does: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    words = ["-q", "-n", "-W", "--keep-going", "-c", "docs/site", "-d", folder / "parsed", ".", folder / "html"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


class _Fetched(HTMLParser):
    """Addresses that a browser fetches to show a page: scripts, styles, pictures, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.addresses.append(found.get("src") or "")
        if tag == "link" and found.get("rel") not in ("next", "prev", "index", "search", "author", "copyright"):
            self.addresses.append(found.get("href") or "")


def test_every_page_is_in_the_site(site: Path) -> None:
    missing = [page_name(page) for page in PAGES if not (site / page_name(page)).with_suffix(".html").exists()]
    assert missing == []


def test_start_page_leads_to_every_page(site: Path) -> None:
    links = set(re.findall(r'href="([^"#]+)', (site / "docs/index.html").read_text(encoding="utf-8")))
    pages = [page for page in PAGES if page.parent.name != "decisions"]
    reached = {(site / "docs" / link).resolve() for link in links if "://" not in link}
    assert [page_name(page) for page in pages if (site / page_name(page)).with_suffix(".html") not in reached] == []
    assert 'url=docs/index.html"' in (site / "index.html").read_text(encoding="utf-8")


def test_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    fetched = _Fetched()
    for page in site.rglob("*.html"):
        fetched.feed(page.read_text(encoding="utf-8"))
    assert len(fetched.addresses) > 100
    assert sorted({address for address in fetched.addresses if re.match(r"(?:\w+:)?//", address)}) == []
    styles = "".join(style.read_text(encoding="utf-8") for style in site.rglob("*.css"))
    assert re.findall(r"url\([\"']?(?:https?:)?//[^)]*\)|@import [^;]*//", styles) == []


def test_site_can_be_searched_and_has_a_light_and_a_dark_form(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert "docs/rollouts" in index
    page = (site / "docs/rollouts.html").read_text(encoding="utf-8")
    assert "theme-toggle" in page
    assert "prefers-color-scheme: dark" in page
