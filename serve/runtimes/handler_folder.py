"""The private folder of a handler: a copy of its archive's files, its home and its temporary files.

It lives as long as the runtime. One whose replica was killed is removed when the next handler starts on the machine: a
replica that lives holds a lock on its folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import IO

from model_store.errors import ModelNotReady
from model_store.filesystems import reason

PREFIX = "onegate-handler-"
LOCK = "lock"
MODEL = "model"
LINKED_FROM_BYTES = 16 << 20
"""Larger files are weights, which are only read: linked where that can be done. Smaller ones are copied, as a handler
may write into its folder and must not reach the store's own files through a link."""


class HandlerFolder:
    """`path` is the handler's home, `model` in it has the files of `source`.

    Raises `ModelNotReady` when they can't be written there.
    """

    def __init__(self, source: Path) -> None:
        remove_abandoned()
        self.path, self._lock = _claim()
        self.model = self.path / MODEL
        try:
            shutil.copytree(source, self.model, copy_function=_place)
        except OSError as error:
            self.close()
            raise ModelNotReady(f"the handler's files can't be copied to {self.model}: {_reason(error)}") from error

    def close(self) -> None:
        """Removes it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def remove_abandoned() -> None:
    """Removes the folders of replicas that are no more."""
    for lock_file in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError), open(lock_file, "rb", opener=_without_waiting) as lock:
            found = os.fstat(lock.fileno())
            if found.st_uid != os.getuid() or not stat.S_ISREG(found.st_mode):
                continue  # the folder for temporary files is everybody's
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock_file.parent, ignore_errors=True)


def _without_waiting(path: str, flags: int) -> int:
    """Opens at once what may be another user's pipe, and follows no link."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def _reason(error: OSError) -> str:
    """The first of the reasons that `copytree` gathers, one a file."""
    gathered = error.args[0] if isinstance(error, shutil.Error) else None
    return str(gathered[0][2]) if gathered else reason(error)


def _claim() -> tuple[Path, IO[bytes]]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = open(path / LOCK, "xb")  # noqa: SIM115  # held as long as the folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (path / LOCK).exists():
            return path, lock
        lock.close()  # somebody who tidies up was faster


def _place(source: str, target: str) -> str:
    if os.path.getsize(source) >= LINKED_FROM_BYTES:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return target
    shutil.copyfile(source, target)
    os.chmod(target, os.stat(source).st_mode | stat.S_IRUSR | stat.S_IWUSR)
    return target
