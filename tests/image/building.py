"""Builds the image, also where no registry of images can be reached: the base is then made of Debian's packages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.image.engine import Engine
from tests.release import distributions

ROOT = Path(__file__).parents[2]
DEBIAN_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")


def base_name() -> str:
    """What the Dockerfile builds on, as `python:3.11-slim-bookworm`."""
    (name,) = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return str(name)


def debian_base(engine: Engine, folder: Path) -> str:
    """An image that stands for the base: the same release of Debian with Debian's own Python; its name.

    Needs root and `debootstrap`.
    """
    suite, root = base_name().rpartition("-")[2], folder / "root"
    mirror = re.findall(r"^URIs: (\S+)", DEBIAN_SOURCES.read_text(), re.MULTILINE) if DEBIAN_SOURCES.exists() else []
    packages = "--include=ca-certificates,python3,python3-venv"
    subprocess.run(
        ["debootstrap", "--variant=minbase", packages, suite, str(root), *mirror[:1]], check=True, capture_output=True
    )
    for cache in ("var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / cache)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    with tarfile.open(folder / "root.tar", "w") as archive:
        archive.add(root, ".")
    name = f"localhost/onegate-base:{suite}"
    engine("import", folder / "root.tar", name)
    return name


def fetched_packages(folder: Path) -> tuple[Path, Path]:
    """A folder with the base install's packages, as this machine's pip gets them, and a pip.conf that knows only it."""
    wheels, config = folder / "wheels", folder / "pip.conf"
    _, own, _ = distributions.build(ROOT, folder / "dist", distributions.commit_epoch(ROOT))
    python = base_name().partition(":")[2].partition("-")[0]
    options = ["-qq", "--disable-pip-version-check", "--only-binary=:all:", f"--python-version={python}"]
    command = ["download", *options, "-c", str(ROOT / "constraints.txt"), "-d", str(wheels), str(own)]
    subprocess.run([sys.executable, "-m", "pip", *command, "setuptools", "onnxruntime"], check=True)
    (wheels / own.name).unlink()
    config.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    return wheels, config


def build(engine: Engine, folder: Path, target: str, base: str) -> str:
    """Builds `target` of the Dockerfile on the image `base`; the name of what was built."""
    options = engine.build_options(*fetched_packages(folder)) if engine.is_podman else []
    name = f"localhost/onegate-check:{target}"
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    arguments = [f"--build-arg=BASE={base}", f"--build-arg=REVISION={revision.stdout.strip()}"]
    engine("build", "--network=host", *options, *arguments, f"--target={target}", f"--tag={name}", ROOT, timeout_s=3000)
    return name
