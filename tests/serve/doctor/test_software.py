"""Python, packages and Ray."""

from __future__ import annotations

import socket
import sys
from importlib import metadata
from pathlib import Path

import pytest

from serve.doctor import software


def write_distribution(folder: Path, *requires: str) -> None:
    """An installed distribution `needy`, in a folder that is on the path."""
    info = folder / "needy-1.0.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: needy", "Version: 1.0", *(f"Requires-Dist: {text}" for text in requires)]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_old_python_is_a_problem() -> None:
    (found,) = software.check_python((3, 10, 4))
    assert (found.level, found.text) == ("problem", "Python 3.10.4")
    assert [finding.level for finding in software.check_python()] == ["ok"]


def test_a_missing_and_an_old_package_are_problems(packages: Path) -> None:
    write_distribution(packages, "numpy>=1", "click>=99", "no-such-package>=2", 'absent; extra == "x"')
    old, missing = software.check_packages(None, "needy")
    assert (old.level, old.text, old.advice) == (
        "problem",
        f"click {metadata.version('click')} is installed",
        "pip install 'click>=99'",
    )
    assert (missing.level, missing.text, missing.advice) == (
        "problem",
        "no-such-package is missing",
        "pip install 'no-such-package>=2'",
    )


def test_what_is_needed_is_there(packages: Path) -> None:
    write_distribution(packages, "numpy>=1", "click")
    assert [(f.level, f.text) for f in software.check_packages(None, "needy")] == [("ok", "all 2 that needy needs")]


def test_a_distribution_that_is_not_installed_is_a_warning() -> None:
    (found,) = software.check_packages(None, "needy")
    assert (found.level, found.text) == ("warning", "needy runs from a folder without being installed")


def test_other_versions_than_were_tested_are_a_warning(packages: Path) -> None:
    write_distribution(packages)
    constraints = packages / "constraints.txt"
    constraints.write_text(f"# tested\nNumPy=={metadata.version('numpy')}\nclick==1.0\nabsent==3\n")
    _, found = software.check_packages(constraints, "needy")
    assert found.level == "warning"
    assert found.text == f"other versions than were tested: click {metadata.version('click')} (tested: 1.0)"
    constraints.write_text(f"numpy=={metadata.version('numpy')}\n")
    assert [finding.level for finding in software.check_packages(constraints, "needy")] == ["ok", "ok"]


def test_a_build_of_the_tested_version_is_as_tested(packages: Path) -> None:
    write_distribution(packages)
    (packages / "built-2.0+cpu.dist-info").mkdir()
    (packages / "built-2.0+cpu.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: built\nVersion: 2.0+cpu\n")
    (packages / "constraints.txt").write_text("built==2.0\n")
    assert [finding.level for finding in software.check_packages(packages / "constraints.txt", "needy")] == ["ok", "ok"]


def test_a_ray_that_can_not_be_imported_is_a_problem(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    bare.chmod(0o755)
    (found,) = software.check_ray(str(bare), "/tmp")
    assert (found.level, found.text) == (
        "problem",
        "Ray Serve can't be imported: ModuleNotFoundError: No module named 'ray'",
    )


def test_a_long_folder_of_temporary_files_is_a_problem() -> None:
    _, found = software.check_ray(sys.executable, "/tmp/" + "x" * 40)
    assert (found.level, "too long a name for Ray's sockets" in found.text) == ("problem", True)


def test_a_cluster_that_does_not_answer_is_a_problem(free_port: int) -> None:
    (found,) = software.check_cluster(f"127.0.0.1:{free_port}")
    assert (found.level, found.text) == ("problem", f"nobody answers at 127.0.0.1:{free_port}: Connection refused")
    (found,) = software.check_cluster("somewhere")
    assert (found.level, found.text) == ("problem", "'somewhere' is no address")
    with socket.create_server(("127.0.0.1", free_port)):
        (found,) = software.check_cluster(f"ray://127.0.0.1:{free_port}")
    assert found.level == "ok"
