"""Python, the packages that onegate needs, and Ray: are they there, in versions that go together, and do they start."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import Specifier
from packaging.utils import canonicalize_name

from serve.doctor.finding import Finding, ok, problem, warning

OLDEST_PYTHON = (3, 11)

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
"""In a checkout; an installed package has none."""

IMPORT_S = 60

SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket (Linux: 108 with the NUL)."""

_SOCKET_BELOW = "onegate-xxxxxxxx/ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    """The interpreter."""
    told = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        yield problem("python", f"Python {told}", "install onegate into Python 3.11 or newer")
    else:
        yield ok("python", f"Python {told} at {sys.executable}")


def check_packages(constraints: Path | None, distribution: str = "onegate") -> Iterator[Finding]:
    """What the installed `distribution` requires; and the versions that were tested together, where a file has them."""
    try:
        requires = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        yield warning("packages", f"{distribution} runs from a folder without being installed", "pip install .")
        return
    present, wrong = 0, False
    for requirement in map(Requirement, requires):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = _installed(requirement.name)
        if found is None:
            wrong = True
            yield problem("packages", f"{requirement.name} is missing", f"pip install '{requirement}'")
        elif not requirement.specifier.contains(found, prereleases=True):
            wrong = True
            yield problem("packages", f"{requirement.name} {found} is installed", f"pip install '{requirement}'")
        else:
            present += 1
    if not wrong:
        yield ok("packages", f"all {present} that {distribution} needs")
    if constraints is not None and constraints.exists():
        yield from _against(constraints)


def _against(constraints: Path) -> Iterator[Finding]:
    different = {
        name: (found, tested) for name, tested in read_constraints(constraints).items()
        if (found := _installed(name)) is not None and not Specifier(f"=={tested}").contains(found, prereleases=True)
    }  # fmt: skip
    if different:
        told = ", ".join(f"{name} {found} (tested: {tested})" for name, (found, tested) in sorted(different.items()))
        yield warning("packages", f"other versions than were tested: {told}", f"pip install -c {constraints} onegate")
    else:
        yield ok("packages", f"the versions of {constraints}")


def read_constraints(file: Path) -> Mapping[str, str]:
    """Canonical name -> version, of lines as `name==version`."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", file.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_ray(python: str = sys.executable, folder: str | None = None) -> Iterator[Finding]:
    """Ray Serve is imported in a process of its own; and what a local Ray needs of addresses and paths is there.
    `folder` stands for the one of temporary files."""
    try:
        done = subprocess.run(
            [python, "-P", "-c", "import ray, ray.serve; print(ray.__version__)"],
            capture_output=True,
            text=True,
            timeout=IMPORT_S,
            check=False,
        )
        told = (done.stdout or done.stderr).strip().splitlines()[-1:] or ["no word"]
        if done.returncode == 0:
            yield ok("ray", f"Ray Serve {told[0]} can be imported")
        else:
            yield problem("ray", f"Ray Serve can't be imported: {told[0]}", "pip install 'ray[serve]>=2.60,<3'")
    except subprocess.TimeoutExpired:
        yield problem("ray", f"importing Ray took over {IMPORT_S} s", "look at the disk that holds Python's packages")
    yield from _check_socket_path(folder or tempfile.gettempdir())
    yield from _check_loopback()


def _check_socket_path(folder: str) -> Iterator[Finding]:
    length = len(str(Path(folder).absolute() / _SOCKET_BELOW).encode())
    if length > SOCKET_PATH_BYTES:
        over = length - SOCKET_PATH_BYTES
        yield problem(
            "ray",
            f"the folder of temporary files, {folder!r}, has too long a name for Ray's sockets, by {over} bytes",
            "set TMPDIR to a folder with a short name, as /tmp",
        )


def _check_loopback() -> Iterator[Finding]:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        yield problem("ray", f"127.0.0.1 can't be connected to: {error.strerror}", "bring up the loopback interface")


def check_cluster(address: str) -> Iterator[Finding]:
    """Something listens at the address of a Ray cluster."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        yield problem("ray", f"{address!r} is no address", "write HOST:PORT, as `ray start --head` prints it")
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        reason = error.strerror or str(error)
        yield problem("ray", f"nobody answers at {address}: {reason}", "start the cluster, or open its port to here")
    else:
        yield ok("ray", f"the cluster at {address} answers")
