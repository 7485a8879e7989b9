"""The parts of `make dist`: what a wheel has to hold, archives without traces of their machine, and what is refused."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.release import distributions
from tests.release.archives import pack_again
from tests.release.contents import missing_and_stray

ROOT = Path(__file__).parents[2]
EPOCH = 1_700_000_000


def tracked_by_git(folder: Path) -> Path:
    for command in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def test_build_refuses_a_wheel_that_lacks_a_file_of_a_package(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "serve").mkdir(parents=True)
    (project / "pyproject.toml").write_text("[project]\nname = 'onegate'\nversion = '1'\n")
    (project / "serve/__init__.py").write_text("")
    (project / "serve/labels.txt").write_text("cat\n")
    with pytest.raises(distributions.ReleaseError, match=r"lacks serve/labels\.txt; see .* pyproject\.toml"):
        distributions.build(tracked_by_git(project), tmp_path / "dist", EPOCH)
    assert list((tmp_path / "dist").iterdir()) == []


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text("[project]\nname = 'onegate'\n")
    with pytest.raises(distributions.ReleaseError, match=r"(?s)build_sdist failed:.*version"):
        distributions.build(tracked_by_git(project), tmp_path / "dist", EPOCH)


def test_a_stray_file_in_a_wheel_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as wheel:
        wheel.writestr("serve/gateway.py", "")
        wheel.writestr("tests/test_gateway.py", "")
    found = missing_and_stray(tmp_path / "x.whl", ["serve/gateway.py", "serve/routing.py", "tests/test_gateway.py"])
    assert found == "lacks serve/routing.py; has beside the packages' files tests/test_gateway.py"


def test_packing_again_forgets_fractions_of_seconds_and_keeps_executables(tmp_path: Path) -> None:
    archives = []
    for name, time_s in (("a.tar.gz", 12.5), ("b.tar.gz", 99.25)):
        with tarfile.open(tmp_path / name, "w:gz", format=tarfile.PAX_FORMAT) as archive:
            member = tarfile.TarInfo("onegate/run")
            member.mtime, member.mode, member.uname, member.size = time_s, 0o700, "ada", 2  # type: ignore[assignment]
            archive.addfile(member, io.BytesIO(b"#!"))
        pack_again(tmp_path / name, EPOCH)
        archives.append((tmp_path / name).read_bytes())
    assert archives[0] == archives[1]
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        assert oct(archive.getmember("onegate/run").mode) == "0o755"


def test_changed_files_are_refused_unless_asked_for(tmp_path: Path) -> None:
    repository = tmp_path / "onegate"
    shutil.copytree(ROOT / "tests/release", repository / "tests/release")
    tracked_by_git(repository)
    command = [sys.executable, "-m", "tests.release.distributions", "--out", str(tmp_path / "dist")]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "A  tests/release/distributions.py" in done.stderr
    assert done.stderr.endswith("or build with --changed: it would be no release\n")
    assert not (tmp_path / "dist").exists()
