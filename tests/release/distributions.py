"""`make dist`: sdist and wheel, whose bytes depend on the commit alone.

The tracked files are copied to a clean folder with one time and plain modes, the sdist is built there and packed again
without what differs from machine to machine, and the wheel is built from the unpacked sdist, so that the sdist is known
to be whole. `SOURCE_DATE_EPOCH` is the time of everything; by default that of the commit. The build runs in the
environment that calls it, with the setuptools of `constraints.txt`: another release of it may write other bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.release.archives import pack_again
from tests.release.contents import missing_and_stray

ROOT = Path(__file__).parents[2]
UMASK = 0o022
HOOK = "import sys, setuptools.build_meta as backend; getattr(backend, sys.argv[1])(sys.argv[2])"


class ReleaseError(Exception):
    """A release can't be made of what is here."""


def build(root: Path, out: Path, epoch: int) -> list[Path]:
    """Writes sdist, wheel and `SHA256SUMS` of the tracked files of `root` to `out`; returns the three.

    `epoch` is in seconds since 1970, from 1980 on, where zip's times begin. Raises `ReleaseError` when the wheel lacks
    a file of a package or has one that none has.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="onegate-dist-") as name:
        folder = Path(name)
        tree = folder / "tree"
        copy_tracked(root, tree, epoch)
        sdist = _built("build_sdist", tree, folder / "sdist", epoch)
        pack_again(sdist, epoch)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        wheel = _built("build_wheel", folder / sdist.name.removesuffix(".tar.gz"), folder / "wheel", epoch)
        if wrong := missing_and_stray(wheel, tracked(root)):
            raise ReleaseError(f"{wheel.name}: {wrong}; see [tool.setuptools] in pyproject.toml")
        made = [Path(shutil.copyfile(each, out / each.name)) for each in (sdist, wheel)]
    sums = out / "SHA256SUMS"
    sums.write_text("".join(f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in made))
    return [*made, sums]


def tracked(root: Path) -> list[str]:
    """The files that git tracks in `root`, relative to it."""
    found = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True)
    return sorted(name for name in found.stdout.split("\0") if name and (root / name).is_file())


def copy_tracked(root: Path, target: Path, epoch: int) -> None:
    """Copies the tracked files as they stand, with modes that no umask has touched."""
    for name in tracked(root):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, copy)
        copy.chmod(0o755 if os.access(root / name, os.X_OK) else 0o644)
        os.utime(copy, (epoch, epoch))


def _built(hook: str, tree: Path, out: Path, epoch: int) -> Path:
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", HOOK, hook, str(out)],
        cwd=tree,
        env=os.environ | {"SOURCE_DATE_EPOCH": str(epoch)},
        umask=UMASK,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ReleaseError(f"{hook} failed:\n{done.stderr[-2000:]}")
    (made,) = out.iterdir()
    return made


def commit_epoch(root: Path) -> int:
    """When the commit was made that is checked out."""
    found = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=root, capture_output=True, text=True, check=True)
    return int(found.stdout)


def changed(root: Path) -> str:
    """What differs from the commit, as git lists it in short; empty for nothing."""
    command = ["git", "status", "--short"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build sdist and wheel, the same bytes for the same commit.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder to write to (dist)")
    parser.add_argument("--changed", action="store_true", help="build though files differ from the commit")
    arguments = parser.parse_args()
    if (differs := changed(ROOT)) and not arguments.changed:
        print(f"{differs}commit or remove these, or build with --changed: it would be no release", file=sys.stderr)
        return 1
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or commit_epoch(ROOT))
    try:
        made = build(ROOT, arguments.out, epoch)
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    for path in made:
        print(f"{path.stat().st_size:>10,}  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
