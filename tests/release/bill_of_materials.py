"""`make sbom`: what the base install of a wheel consists of, as CycloneDX, read off an environment of nothing else."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.release.distributions import ROOT, commit_epoch

SPECIFICATION = "1.6"

TOOL = "cyclonedx-bom"
"""In an environment of its own: what it needs to check a schema costs each process that imports Ray a second."""


def install(what: str, folder: Path) -> Path:
    """Makes an environment in `folder` of a wheel or a package and what it needs, with the versions of
    `constraints.txt`.

    Without pip, which is no part of it. Returns the environment's Python.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    options = ["--quiet", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", *options, what], check=True, capture_output=True)
    return python


def write(python: Path, out: Path, epoch: int) -> int:
    """Writes the bill of the environment of `python` to `out`, checked against CycloneDX' schema; how many components.

    `epoch` in seconds is its time. Raises `subprocess.CalledProcessError` when it can't be made or is not valid.
    """
    project = [f"--pyproject={ROOT / 'pyproject.toml'}", "--mc-type=application"]
    form = [f"--spec-version={SPECIFICATION}", "--output-reproducible", "--validate", f"--output-file={out}"]
    with tempfile.TemporaryDirectory(prefix="onegate-sbom-") as folder:
        subprocess.run(
            [install(TOOL, Path(folder)), "-m", "cyclonedx_py", "environment", *project, *form, str(python)],
            env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)},
            check=True,
        )
    return len(json.loads(out.read_text())["components"])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the bill of materials of a wheel's base install.")
    parser.add_argument("wheel", type=Path)
    wheel = parser.parse_args().wheel
    out = wheel.with_name(f"{'-'.join(wheel.name.split('-')[:2])}.cdx.json")
    with tempfile.TemporaryDirectory(prefix="onegate-sbom-") as folder:
        epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or commit_epoch(ROOT))
        count = write(install(str(wheel), Path(folder)), out, epoch)
    print(f"{out}: {count} components")


if __name__ == "__main__":
    main()
