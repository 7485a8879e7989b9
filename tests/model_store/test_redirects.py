"""Web servers that send on: only to where the caller follows, and not one request goes elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from model_store.errors import SourceError
from model_store.sources import resolve_source
from tests.model_store.web import FILE, SENDS_ON, WebServer, web_server


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture
def elsewhere() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def test_a_file_of_the_web_is_downloaded_under_its_name(web: WebServer, tmp_path: Path) -> None:
    found = resolve_source(web.url + FILE, tmp_path, tmp_path / "work", lambda place: False)
    assert (found, found.read_bytes()) == (tmp_path / "work" / "m.onnx", b"model")


@pytest.mark.parametrize("location", ["{web}" + FILE, FILE])
def test_a_redirect_is_followed_where_the_caller_says_so(web: WebServer, tmp_path: Path, location: str) -> None:
    web.location = location.format(web=web.url)
    asked: list[str] = []

    def follow(place: str) -> bool:
        asked.append(place)
        return True

    found = resolve_source(web.url + SENDS_ON, tmp_path, tmp_path / "work", follow)
    assert (found.read_bytes(), set(asked)) == (b"model", {web.url + FILE})


def test_without_a_say_redirects_are_followed(web: WebServer, tmp_path: Path) -> None:
    assert resolve_source(web.url + SENDS_ON, tmp_path, tmp_path / "work").read_bytes() == b"model"


def test_a_refused_redirect_is_named_and_its_place_is_not_asked(
    web: WebServer, elsewhere: WebServer, tmp_path: Path
) -> None:
    web.location = elsewhere.url + FILE
    with pytest.raises(SourceError, match=f"sends on to '{web.location}', where it is not followed"):
        resolve_source(web.url + SENDS_ON, tmp_path, tmp_path / "work", lambda place: place != web.location)
    assert (elsewhere.asked, web.asked.count(FILE)) == ([], 0)


@pytest.mark.parametrize(
    "location",
    ["m.onnx", "//{other}/models/m.onnx", "/\\{other}/models/m.onnx", "http:/models/m.onnx", "http:\\\\{other}/m", ""],
)
def test_a_redirect_that_can_be_read_in_two_ways_is_refused(
    web: WebServer, elsewhere: WebServer, tmp_path: Path, location: str
) -> None:
    web.location = location.format(other=elsewhere.url.removeprefix("http://"))
    with pytest.raises(SourceError, match="is not followed"):
        resolve_source(web.url + SENDS_ON, tmp_path, tmp_path / "work", lambda place: True)
    assert (elsewhere.asked, web.asked.count(FILE)) == ([], 0)


def test_a_missing_file_of_the_web_is_looked_for_beside_it(web: WebServer, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"looked for 'n\.onnx' in '{web.url}/models'"):
        resolve_source(f"{web.url}/models/n.onnx", tmp_path, tmp_path / "work", lambda place: True)
