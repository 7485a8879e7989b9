"""Which sources management calls may register: patterns, with links and `..` resolved first."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_store.errors import Forbidden
from serve.control.allowed_sources import admitted, matches, redirects


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`models/a.onnx`, `secret/key`, and a link from the first folder into the second."""
    root = Path(os.path.realpath(tmp_path))
    for name in ("models/a.onnx", "secret/key"):
        (root / name).parent.mkdir()
        (root / name).write_bytes(b"x")
    (root / "models" / "link").symlink_to(root / "secret" / "key")
    (root / "models" / "current").symlink_to(root / "models" / "a.onnx")
    return root


@pytest.mark.parametrize("form", ["{0}/models/a.onnx", "file://{0}/models/a.onnx", "{0}/secret/../models/a.onnx"])
def test_a_path_that_a_pattern_admits_is_registered_without_links(root: Path, form: str) -> None:
    assert admitted(form.format(root), [f"file://{root}/models/*"], None) == f"{root}/models/a.onnx"


def test_a_link_is_what_it_leads_to(root: Path) -> None:
    assert admitted(f"{root}/models/current", [f"file://{root}/models/*"], None) == f"{root}/models/a.onnx"


@pytest.mark.parametrize(
    "form",
    [
        "{0}/secret/key",
        "{0}/models/link",
        "{0}/models/../secret/key",
        "file://{0}/models/%2e%2e/secret/key",
        "file://elsewhere{0}/models/a.onnx",
        "{0}/models/a\0.onnx",
        "file://{0}/models/%00.onnx",
        "~nobody-of-that-name/a.onnx",
        "file://[/models/a.onnx",
        "FILE://{0}/models/a.onnx",
        "filecache::file://{0}/models/a.onnx",
    ],
)
@pytest.mark.parametrize("folder", [None, "models"])
def test_what_leads_elsewhere_is_refused(root: Path, form: str, folder: str | None) -> None:
    with pytest.raises(Forbidden):
        admitted(form.format(root), [f"file://{root}/models/*"], folder and f"{root}/{folder}")


def test_a_relative_name_lies_in_the_folder_of_models(root: Path) -> None:
    assert admitted("a.onnx", [], f"{root}/models") == f"{root}/models/a.onnx"
    assert admitted(f"{root}/models/a.onnx", [], f"{root}/models") == f"{root}/models/a.onnx"


@pytest.mark.parametrize("name", ["../secret/key", "link", "./a.onnx", "", "sub\\a"])
def test_a_relative_name_that_leaves_the_folder_is_refused(root: Path, name: str) -> None:
    with pytest.raises(Forbidden, match="leads out of the folder of models"):
        admitted(name, ["file://*"], f"{root}/models")


def test_without_a_folder_of_models_a_relative_name_says_what_to_do() -> None:
    with pytest.raises(Forbidden, match=r"give an absolute path or a URL, or set `gateway: \{model_folder: \.\.\.\}`"):
        admitted("a.onnx", ["file://*"], None)


def test_a_url_that_a_pattern_admits_is_registered_as_it_is() -> None:
    assert admitted("s3://bucket/m/a.onnx", ["s3://bucket/*"], None) == "s3://bucket/m/a.onnx"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "https://bucket/m/a.onnx",
        "s3://bucket2/m",
        "s3://[bucket/m",
        "s3://[bucket]/m",
        "s3://bucket/../other/m",
        "s3://bucket/%2e%2e/other/m",
        "s3://bucket/m::file:///etc/passwd",
        "s3://bucket/m\n",
        "s3://bucket/%5c..%5cm",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(Forbidden, match="allowed_sources"):
        admitted(url, ["file://*", "s3://bucket/*"], None)


@pytest.mark.parametrize(
    ("place", "pattern", "admits"),
    [
        ("/a/b.onnx", "file:///a/*", True),
        ("/a/b.onnx", "file:///a/*.onnx", True),
        ("/a/b.onnx", "/a/*", False),
        ("/a/b.onnx", "file:///a", False),
        ("/a/bconnx", "file:///a/b.onnx", False),
        ("/a/[b].onnx", "file:///a/[b]*", True),
        ("https://host/x", "https://host/*", True),
        ("https://host.evil/x", "https://host/*", False),
    ],
)
def test_a_star_is_any_text_and_nothing_else_is_special(place: str, pattern: str, admits: bool) -> None:
    assert matches(place, [pattern]) is admits


ALLOWED = ("https://host/models/*", "https://mirror/*")


@pytest.mark.parametrize(
    ("place", "followed"),
    [
        ("https://host/models/b.onnx", True),
        ("https://mirror/b.onnx", True),
        ("https://host/b.onnx", False),
        ("https://host/models/../b.onnx", False),
        ("https://host/models/%2E%2e/b.onnx", False),
        ("http://host/models/b.onnx", False),
        ("http://169.254.169.254/latest/meta-data", False),
        ("file:///etc/passwd", False),
    ],
)
def test_what_patterns_admit_is_sent_on_only_to_what_they_admit(place: str, followed: bool) -> None:
    assert redirects("https://host/models/a.onnx", ALLOWED)(place) is followed


def test_the_config_s_own_sources_are_sent_on_to_anywhere() -> None:
    assert redirects("https://elsewhere/a.onnx", ALLOWED)("https://cdn/a.onnx")
