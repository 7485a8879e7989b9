"""`make dist`: whole, the same bytes each time, and what a package needs is in it."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.release import distributions

ROOT = Path(__file__).parents[2]
EPOCH = 1_700_000_000


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this repository's tracked files that git tracks too, with a built console and its sources."""
    folder = tmp_path_factory.mktemp("project") / "onegate"
    distributions.copy_tracked(ROOT, folder, int(time.time()))
    shutil.rmtree(folder / "tests")  # 8 MB that change nothing here
    for name in ("dist/index.html", "dist/assets/console.js", "source/src/main.ts", "source/package.json"):
        path = folder / "serve/console" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def made(project: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return distributions.build(project, tmp_path_factory.mktemp("dist"), EPOCH)


def test_two_builds_at_other_times_and_places_are_the_same_bytes(
    project: Path, made: list[Path], tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(project, elsewhere, copy_function=shutil.copyfile)  # with times of now
    before = os.umask(0o077)
    try:
        again = distributions.build(elsewhere, tmp_path / "dist", EPOCH)
    finally:
        os.umask(before)
    assert [path.name for path in again] == [path.name for path in made]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in made]


def test_names_and_sums_are_those_of_the_version(project: Path, made: list[Path]) -> None:
    version = tomllib.loads((project / "pyproject.toml").read_text())["project"]["version"]
    names = [path.name for path in made]
    assert names == [f"onegate-{version}.tar.gz", f"onegate-{version}-py3-none-any.whl", "SHA256SUMS"]
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=made[-1].parent, check=True)


def test_wheel_has_what_the_packages_read_and_no_sources_of_the_console(made: list[Path]) -> None:
    with zipfile.ZipFile(made[1]) as wheel:
        names = set(wheel.namelist())
    assert names >= {
        "serve/protocols/open_inference.binpb",
        "serve/protocols/google/rpc/status.proto",
        "serve/handler_child/onegate_handler/main.py",
        "serve/handler_child/ts/protocol/otf_message_handler.py",
        "serve/console/dist/index.html",
        "serve/console/dist/assets/console.js",
        "converters/py.typed",
        "model_store/py.typed",
    }
    assert [name for name in names if "console/source" in name or name.startswith("tests/")] == []


def test_sdist_has_what_the_tests_and_the_documentation_need(made: list[Path]) -> None:
    with tarfile.open(made[0]) as sdist:
        names = {member.name.partition("/")[2] for member in sdist.getmembers()}
    tracked = {name for name in distributions.tracked(ROOT) if not name.startswith("tests/")}
    assert sorted(tracked - names) == [".ci/run", ".gitignore"]


def test_metadata_names_pythons_licence_and_what_the_base_needs(made: list[Path]) -> None:
    with zipfile.ZipFile(made[1]) as wheel:
        (name,) = (each for each in wheel.namelist() if each.endswith(".dist-info/METADATA"))
        fields = email.message_from_bytes(wheel.read(name))
    assert (fields["Requires-Python"], fields["License-Expression"]) == (">=3.11", "Apache-2.0")
    base = [text for text in fields.get_all("Requires-Dist", []) if "extra ==" not in text]
    assert [text for text in base if text.startswith(("torch", "tensorflow", "keras", "scikit", "xgboost"))] == []


def test_times_owners_and_modes_of_members_are_plain(made: list[Path]) -> None:
    with tarfile.open(made[0]) as sdist:
        members = sdist.getmembers()
    assert {(each.mtime, each.uid, each.gid, each.uname, each.gname) for each in members} == {(EPOCH, 0, 0, "", "")}
    assert {oct(each.mode) for each in members if each.isfile()} == {"0o644"}
    assert [each.name for each in members] == sorted(each.name for each in members)
