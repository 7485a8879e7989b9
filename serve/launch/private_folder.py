"""Where `up` and all that it starts run.

A user's folder may hold a `serve.py`, a `ray.py` or a `converters/` of their own, and Ray's workers put the driver's
working folder first on their path: so `up` moves to a private folder before Ray starts. Everything temporary of all
processes, Ray's own files included, lies in that folder, which is removed at the end.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder of this process's own as working folder and temporary folder, removed at the end."""
    before = Path.cwd()
    folder = Path(tempfile.mkdtemp(prefix="onegate-"))
    for name in ("work", "tmp"):
        (folder / name).mkdir()
    os.environ["TMPDIR"] = str(folder / "tmp")
    os.chdir(folder / "work")
    # An entry for the folder that the command was typed in would hide onegate's own packages in Ray's workers.
    sys.path[:] = [entry for entry in sys.path if entry not in ("", str(before))]
    try:
        yield folder
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)
