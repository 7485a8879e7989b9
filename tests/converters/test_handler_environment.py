"""Environments of handlers: built once from local wheels, without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from converters.handlers.environment import COMPLETE, cache_folder, environment_for
from model_store.errors import ConfigError, ConversionError
from tests.serve.handler_archives import write_wheel


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One for all tests: building takes seconds."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEGATE_CACHE", str(folder))
        yield folder


def archive(folder: Path, name: str = "tinydep", version: str = "1.0", code: str = "answer = 42\n") -> Path:
    """A folder whose requirements name a wheel beside them."""
    wheel = write_wheel(folder, name, version, code)
    (folder / "requirements.txt").write_text(f"--no-index\n./{wheel}\n")
    return folder


def said(python: Path, code: str) -> str:
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_without_requirements_the_handler_runs_in_the_python_itself(tmp_path: Path) -> None:
    assert environment_for(tmp_path) == Path(sys.executable)
    assert environment_for(tmp_path, python="/bin/sh") == Path("/bin/sh")


def test_requirements_are_installed_over_what_the_python_has(tmp_path: Path, cache: Path) -> None:
    python = environment_for(archive(tmp_path / "archive"), "requirements.txt")
    assert python.is_relative_to(cache / "handlers")
    assert said(python, "import tinydep, numpy; print(tinydep.answer, numpy.__version__ > '2')") == "42 True"
    with pytest.raises(ModuleNotFoundError):
        import tinydep  # noqa: F401  # it must not be here


def test_a_pinned_version_from_a_folder_of_the_archive_wins_inside_and_is_not_seen_outside(tmp_path: Path) -> None:
    write_wheel(tmp_path / "wheels", "iniconfig", "99.0", "mine = True\n")
    (tmp_path / "requirements.txt").write_text("--no-index\n--find-links=wheels\niniconfig==99.0\n")
    python = environment_for(tmp_path, "requirements.txt", sys.executable)
    version = "import iniconfig, importlib.metadata as m; print(hasattr(iniconfig, 'mine'), m.version('iniconfig'))"
    assert said(python, version) == "True 99.0"
    assert said(Path(sys.executable), version).startswith("False")


def test_an_environment_is_built_once_for_equal_requirements(tmp_path: Path) -> None:
    first = environment_for(archive(tmp_path / "a"), "requirements.txt")
    told: list[str] = []
    assert environment_for(archive(tmp_path / "b"), "requirements.txt", on_progress=told.append) == first
    assert told == []


def test_another_wheel_of_the_same_name_makes_another_environment_once_for_two_builders(tmp_path: Path) -> None:
    first = environment_for(archive(tmp_path), "requirements.txt")
    archive(tmp_path, code="answer = 7\n")
    told: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(environment_for, tmp_path, "requirements.txt", on_progress=told.append) for _ in range(2)]
        other, same = (task.result() for task in tasks)
    assert (other == same, other == first) == (True, False)
    assert told == ["building the environment of the handler (requirements.txt)"]
    assert [said(python, "import tinydep; print(tinydep.answer)") for python in (first, other)] == ["42", "7"]


BACKEND = """
import os, shutil

def build_wheel(folder, config_settings=None, metadata_directory=None):
    with open("seen.txt", "w") as file:
        file.write(" ".join(os.environ))
    return os.path.basename(shutil.copy("tinydep-2.0-py3-none-any.whl", folder))
"""


def test_packages_that_are_built_see_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("CMAKE_ARGS", "-G Ninja")
    write_wheel(tmp_path / "source", "tinydep", "2.0")
    build_system = 'requires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    (tmp_path / "source/pyproject.toml").write_text(f"[build-system]\n{build_system}")
    (tmp_path / "source/backend.py").write_text(BACKEND)
    (tmp_path / "requirements.txt").write_text("--no-index\n./source\n")
    assert said(environment_for(tmp_path, "requirements.txt"), "import tinydep; print(tinydep.answer)") == "42"
    seen = (tmp_path / "source/seen.txt").read_text().split()
    assert {"PATH", "CMAKE_ARGS"} <= set(seen)
    assert "AWS_SECRET_ACCESS_KEY" not in seen


def test_files_of_the_archive_do_not_hide_modules_that_pip_needs(tmp_path: Path) -> None:
    folder = archive(tmp_path, code="answer = 11\n")
    for name in ("email.py", "pip.py", "tempfile.py"):
        (folder / name).write_text("raise OSError\n")
    assert said(environment_for(folder, "requirements.txt"), "import tinydep; print(tinydep.answer)") == "11"


def test_words_that_no_file_can_be_called_are_none(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    with (folder / "requirements.txt").open("a") as file:
        file.write(f"# {'x' * 5000} ../../etc/passwd /etc/passwd .\n")
    assert said(environment_for(folder, "requirements.txt"), "import tinydep; print(tinydep.answer)") == "42"


def test_what_a_killed_builder_left_is_built_anew(tmp_path: Path) -> None:
    python = environment_for(archive(tmp_path / "a"), "requirements.txt")
    place = python.parent.parent
    (place / COMPLETE).unlink()
    (place / "half").touch()
    assert environment_for(tmp_path / "a", "requirements.txt") == python
    assert not (place / "half").exists()
    assert said(python, "import tinydep; print(tinydep.answer)") == "42"


def test_pips_reason_is_told_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEGATE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "requirements.txt").write_text("--no-index\nno-such-distribution==1\n")
    with pytest.raises(
        ConversionError,
        match=r"^the environment of the handler can't be built: ERROR: No matching distribution found for no-such-d",
    ):
        environment_for(tmp_path, "requirements.txt")
    assert [path.suffix for path in (tmp_path / "cache/handlers").iterdir()] == [".lock"]


def test_a_build_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"^the environment of the handler was not built within 0.001 s$"):
        environment_for(archive(tmp_path / "a", code="answer = 0\n"), "requirements.txt", timeout_s=0.001)


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^handler: no Python 'python9.9' on this machine; install it"):
        environment_for(tmp_path, None, "python9.9")


def test_a_command_that_is_no_python_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'/.*/false' is no Python that can be used"):
        environment_for(archive(tmp_path / "a"), "requirements.txt", "false")


def test_requirements_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"^the handler's requirements 'requirements.txt' can't be read: No such"):
        environment_for(tmp_path, "requirements.txt")


def test_the_cache_follows_the_users_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ONEGATE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "onegate/handlers"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path(os.path.expanduser("~/.cache/onegate/handlers"))
