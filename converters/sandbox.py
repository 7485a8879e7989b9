"""Conversions run in a process of their own, so that a crash, a runaway or a leak stays there.

The child gets a private working folder, a nearly empty environment and limits on time and resident memory,
watched from outside: address-space limits break TensorFlow and CUDA. It contains accidents; it is no jail for
code that a user chose to trust.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import site
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from converters.pipeline import ConversionRequest, Converted
from converters.sandbox_child import Message
from model_store.errors import ERROR_KINDS, ConversionError, InternalError

POLL_S = 0.05
BACKSTOP_S = 60
"""How long after its time limit a child ends itself, should its parent be gone."""
LONGEST_MESSAGE_BYTES = 16 << 20
LOG_FILE = "converter.log"
BOOTSTRAP = (
    "import sys; root = sys.argv[1]; root in sys.path or sys.path.insert(0, root); "
    "from converters.sandbox_child import main; main(int(sys.argv[2]), int(sys.argv[3]))"
)
"""`-P` keeps the working folder off the path, so that a user's own `converters/` or `serve.py` is not met."""
PACKAGE_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class SandboxLimits:
    """When a conversion is ended: after `timeout_s` seconds, or at `memory_bytes` of resident memory."""

    timeout_s: float = 600
    memory_bytes: int = 8 << 30


DEFAULT_LIMITS = SandboxLimits()


def run_in_sandbox(
    request: ConversionRequest,
    on_progress: Callable[[str], None] = lambda _: None,
    limits: SandboxLimits = DEFAULT_LIMITS,
) -> Converted:
    """Runs one conversion in a child; `request.workdir` is its working folder and must exist.

    Errors of the child come back as their own kind. Raises `ConversionError` with the reason when the child reaches a
    limit, or ends without an answer, as by a fault in native code: then `exit_code` is among the details.
    """
    workdir = Path(request.workdir)
    read_fd, write_fd = os.pipe()
    with open(workdir / LOG_FILE, "wb") as log, open(read_fd, "rb", buffering=0) as channel:
        try:
            child = _start(request, workdir, write_fd, log.fileno(), limits)
        finally:
            os.close(write_fd)
        try:
            return _Watch(child, limits, on_progress, workdir / LOG_FILE).until_result(channel.fileno(), request)
        finally:
            _end(child)


def _start(
    request: ConversionRequest, workdir: Path, channel_fd: int, log_fd: int, limits: SandboxLimits
) -> subprocess.Popen[bytes]:
    longest_s = int(limits.timeout_s) + BACKSTOP_S
    return subprocess.Popen(
        [sys.executable, "-P", "-c", BOOTSTRAP, str(PACKAGE_ROOT), str(channel_fd), str(longest_s)],
        stdin=subprocess.PIPE,
        stdout=log_fd,
        stderr=log_fd,
        cwd=workdir,
        env=_environment(workdir),
        pass_fds=(channel_fd,),
        start_new_session=True,
    )


def _environment(workdir: Path) -> dict[str, str]:
    folder = str(workdir)
    environment = {
        "PATH": os.defpath,
        "HOME": folder,
        "TMPDIR": folder,
        "LANG": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "KERAS_BACKEND": "tensorflow",
        "PYTHONDONTWRITEBYTECODE": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    if site.ENABLE_USER_SITE:
        # HOME moves, so packages that a user installed under it must be named.
        environment["PYTHONUSERBASE"] = site.getuserbase()
    for name in ("LD_LIBRARY_PATH", "OMP_NUM_THREADS"):
        if name in os.environ:
            environment[name] = os.environ[name]
    return environment


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.stdin:
        with contextlib.suppress(OSError):
            child.stdin.close()
    child.wait()


@dataclass
class _Watch:
    """Follows one child until it has answered, died or reached a limit."""

    child: subprocess.Popen[bytes]
    limits: SandboxLimits
    on_progress: Callable[[str], None]
    log: Path
    last_progress: str = "starting"

    def until_result(self, channel_fd: int, request: ConversionRequest) -> Converted:
        assert self.child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a child that died at once is told of below
            self.child.stdin.write(msgspec.json.encode(request) + b"\n")
            self.child.stdin.flush()
        ends = time.monotonic() + self.limits.timeout_s
        buffer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(channel_fd, selectors.EVENT_READ)
            while True:
                if selector.select(POLL_S):
                    chunk = os.read(channel_fd, 1 << 16)
                    if not chunk:
                        raise self._died()
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        if converted := self._take(line):
                            return converted
                self._check_limits(ends, len(buffer))

    def _take(self, line: bytes) -> Converted | None:
        try:
            message = msgspec.json.decode(line, type=Message)
        except msgspec.DecodeError as error:
            raise InternalError(f"the converter process sent something unreadable: {error}") from error
        if message.result is not None:
            return message.result
        if message.progress is not None:
            self.last_progress = message.progress
            self.on_progress(message.progress)
            return None
        kind = ERROR_KINDS.get(message.kind or "", ConversionError)
        raise kind(message.text or "the conversion failed", **message.details)

    def _check_limits(self, ends: float, pending_bytes: int) -> None:
        if time.monotonic() > ends:
            raise ConversionError(
                f"the conversion took longer than {self.limits.timeout_s:g} s while {self.last_progress}; it was ended",
                timeout_s=self.limits.timeout_s,
            )
        resident = _resident_bytes(self.child.pid)
        if resident > self.limits.memory_bytes:
            raise ConversionError(
                f"the conversion used {resident >> 20} MiB of memory while {self.last_progress}; the limit is "
                f"{self.limits.memory_bytes >> 20} MiB, so it was ended",
                memory_bytes=resident,
            )
        if pending_bytes > LONGEST_MESSAGE_BYTES:
            raise InternalError("the converter process sent a message without an end")

    def _died(self) -> ConversionError:
        # The pipe also closes when code inside the source closes it; then the exit is waited for briefly.
        try:
            code = self.child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return ConversionError("the converter process closed its channel without an answer")
        if code < 0:
            how = f"signal {-code} ({signal.Signals(-code).name})"
        else:
            how = f"exit code {code}"
        return ConversionError(
            f"the converter process ended with {how} while {self.last_progress}{self._last_words()}", exit_code=code
        )

    def _last_words(self) -> str:
        lines = self.log.read_bytes()[-4000:].decode(errors="replace").strip().splitlines()
        return f"; its last words: {lines[-1].strip()[:300]}" if lines else ""


def _resident_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
    return total
