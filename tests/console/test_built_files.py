"""What lies built in `serve/console/dist`: of these sources, small, and of nobody else's making."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

CONSOLE = Path(__file__).parents[2] / "serve" / "console"
MOST_BYTES = 150_000


def sources_digest(source: Path) -> str:
    """As `vite.config.js` computes it: of all files but the tests and what npm installs."""
    names = sorted(
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and path.relative_to(source).parts[0] not in ("node_modules", "tests")
    )
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode() + b"\0" + hashlib.sha256((source / name).read_bytes()).digest())
    return digest.hexdigest()


def built() -> list[Path]:
    return [path for path in (CONSOLE / "dist").rglob("*") if path.is_file() and path.suffix != ".sha256"]


def test_the_console_is_built_from_these_sources() -> None:
    told = (CONSOLE / "dist" / "sources.sha256").read_text().strip()
    assert told == sources_digest(CONSOLE / "source"), "run: make console"


def test_the_whole_page_is_small() -> None:
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in built()) < MOST_BYTES


def test_the_page_has_no_script_nor_style_of_its_own_and_names_files_of_its_origin_only() -> None:
    page = (CONSOLE / "dist" / "index.html").read_text()

    assert re.findall(r"<script[^>]*>([^<]+)<", page) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=", page) == []
    assert {name.startswith("/console/") for name in re.findall(r'(?:src|href)="([^"]+)"', page)} == {True}


def test_no_other_origin_is_asked() -> None:
    names = {name for path in built() for name in re.findall(rb"https?://[\w.:/-]+", path.read_bytes())}
    # Names of XML, not addresses, and nobody asks for them.
    assert {name for name in names if not name.startswith(b"http://www.w3.org/")} == set()
