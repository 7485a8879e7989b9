"""Virtual environments of handlers: built once, then found by what went into them.

An environment inherits what its Python has installed and lays the requirements over it. Archives of MMS and TorchServe
count on that: their `requirements.txt` lists what they need beside the server's own libraries, and a second torch of
gigabytes would be the price of anything stricter. What the requirements pin wins inside the environment and is not seen
outside of it.

They lie in `$ONEGATE_CACHE/handlers`, else `$XDG_CACHE_HOME/onegate/handlers`, else `~/.cache/onegate/handlers`, a
folder each; one that is not used any more may be deleted while no handler runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from model_store.errors import ConfigError, ConversionError

BUILD_TIMEOUT_S = 1800.0
COMPLETE = "complete"
"""A file that an environment has from when it is whole. (Building it elsewhere and renaming it would leave scripts that
name the other place.)"""
INHERITED = "onegate_inherited.pth"
PASSED_ON = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LC_\w+|XDG_\w+|PIP_\w+|(?i:https?|all|no|ftp)_proxy|SSL_CERT_(FILE|DIR)|"
    r"(REQUESTS|CURL)_CA_BUNDLE|NETRC|SOURCE_DATE_EPOCH|CC|CXX|FC|AR|LD|\w+FLAGS|LD_LIBRARY_PATH|LIBRARY_PATH|C(PLUS)?_INCLUDE_PATH|"
    r"PKG_CONFIG_PATH|CMAKE_\w+|CUDA_\w+|TORCH_CUDA_\w+|MAX_JOBS|MAKE\w*|CARGO_HOME|RUSTUP_HOME"
)
"""Variables that pip and compilers need; any other might be a secret."""
_DESCRIBE = (
    "import json, sys; print(json.dumps([sys.version, sys.prefix, "
    "[p for p in sys.path if p.endswith(('site-packages', 'dist-packages'))]]))"
)


def environment_for(
    folder: Path,
    requirements: str | None = None,
    python: str | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
    timeout_s: float = BUILD_TIMEOUT_S,
) -> Path:
    """The Python that runs the handler of the archive in `folder`; its environment is built first where there is none.

    `requirements` is a file of the archive for pip; its relative paths start at its own folder. Without one the answer
    is `python` itself. `python` is a command or a path; None stands for the interpreter of this process. Processes that
    ask for one environment at once build it once. pip runs with the caller's own configuration, and like the packages
    that it builds sees only those of the caller's variables that `PASSED_ON` names.

    Raises `ConfigError` when there is no such Python, and `ConversionError` with pip's reason when the environment
    can't be built, each of its steps within `timeout_s` seconds.
    """
    interpreter = _interpreter(python)
    if requirements is None:
        return interpreter
    described = _describe(interpreter)
    place = cache_folder() / _digest(folder, requirements, described)
    with _locked(place.with_suffix(".lock")):
        if not (place / COMPLETE).exists():
            shutil.rmtree(place, ignore_errors=True)  # left by a builder that was killed
            on_progress(f"building the environment of the handler ({requirements})")
            try:
                _build(place, interpreter, described[2], folder / requirements, timeout_s)
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise
    return _python_of(place)


def cache_folder() -> Path:
    """Where environments lie."""
    own = os.environ.get("ONEGATE_CACHE")
    if own:
        return Path(own).absolute() / "handlers"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache).absolute() / "onegate" / "handlers"


def _python_of(place: Path) -> Path:
    return place / "bin" / "python"


def _interpreter(python: str | None) -> Path:
    if python is None:
        return Path(sys.executable)
    found = shutil.which(python)
    if found is None:
        raise ConfigError(
            f"handler: no Python {python!r} on this machine; install it, or name another command or path", python=python
        )
    return Path(found).absolute()


def _describe(interpreter: Path) -> tuple[str, str, list[str]]:
    """Version, prefix and site folders of an interpreter."""
    try:
        # From a folder without files that could be called as modules are.
        done = subprocess.run(
            [interpreter, "-c", _DESCRIBE], cwd="/", capture_output=True, text=True, check=True, timeout=60
        )
        version, prefix, sites = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ConfigError(f"handler: {str(interpreter)!r} is no Python that can be used: {error}") from error
    return version, prefix, sites


def _digest(folder: Path, requirements: str, described: tuple[str, str, list[str]]) -> str:
    """Of all that decides what the environment holds: the Python, the requirements, and files that they name."""
    try:
        text = (folder / requirements).read_bytes()
    except OSError as error:
        raise ConversionError(
            f"the handler's requirements {requirements!r} can't be read: {error.strerror}; put them into the archive"
        ) from error
    digest = hashlib.sha256(json.dumps(described).encode() + b"\0" + text)
    for file in _named_files(folder, text.decode(errors="replace")):
        digest.update(b"\0" + file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:32]


def _named_files(folder: Path, text: str) -> Iterator[Path]:
    """Files of the archive that the lines of the requirements name, by themselves or by their folder."""
    root = folder.resolve()
    for word in text.replace("=", " ").split():
        path = Path(os.path.realpath(root / word)) if "\0" not in word else root
        if path == root or not path.is_relative_to(root):
            continue
        # `os.path` takes a word that no file can be called for one that is not there.
        files = sorted(path.rglob("*")) if os.path.isdir(path) else [path]
        yield from (folder / file.relative_to(root) for file in files if os.path.isfile(file))


def _build(place: Path, interpreter: Path, sites: list[str], requirements: Path, timeout_s: float) -> None:
    _run([str(interpreter), "-m", "venv", "--without-pip", str(place)], place.parent, timeout_s)
    for site_folder in place.glob("lib/python*/site-packages"):
        (site_folder / INHERITED).write_text("".join(f"{site}\n" for site in sites))
    # Isolated (-I): files of the archive, where pip runs, must not stand for modules that it imports.
    python = [str(_python_of(place)), "-I"]
    if subprocess.run([*python, "-c", "import pip"], capture_output=True, check=False).returncode:
        _run([*python, "-m", "ensurepip"], place.parent, timeout_s)
    pip = [*python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    _run([*pip, "-r", str(requirements)], requirements.parent, timeout_s)
    (place / COMPLETE).touch()


def _run(command: list[str], folder: Path, timeout_s: float) -> None:
    environment = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=timeout_s)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ConversionError(f"the environment of the handler was not built within {timeout_s:g} s") from error
            raise
    if process.returncode:
        raise ConversionError(f"the environment of the handler can't be built: {_reason(said)}")


def _reason(said: str) -> str:
    """pip's last line that tells an error, else the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["it said nothing"])[-1][:300]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go of it when the holder dies
        yield
