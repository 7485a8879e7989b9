"""Docker or podman, whichever runs here, as far as the image's check needs one."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any

PRIVATE_MOUNTS = ["unshare", "--mount", "sh", "-c", 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "sh"]
"""crun (1.8) refuses machines that have cgroups of both versions. What is unmounted is so for this command alone."""


class EngineError(RuntimeError):
    """A command of the engine failed."""


class Engine:
    """Runs the engine's commands. `storage` is a folder for podman's images, so that none are left behind."""

    def __init__(self, name: str, storage: Path) -> None:
        self.name = name
        self.is_podman = name == "podman"
        self._command = [name]
        if self.is_podman:
            own = [f"--root={storage / 'images'}", f"--runroot={storage / 'run'}", "--cgroup-manager=cgroupfs"]
            self._command = [*PRIVATE_MOUNTS, "podman", *own]

    def __call__(self, *words: str | Path, timeout_s: float = 600) -> str:
        """What the command prints. Raises `EngineError` with the end of what it says when it fails."""
        done = self.tried(*words, timeout_s=timeout_s)
        if done.returncode:
            raise EngineError(f"{self.name} {words[0]} failed:\n{(done.stdout + done.stderr)[-3000:]}")
        return done.stdout.strip()

    def tried(self, *words: str | Path, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """The same for a command that may fail."""
        command = [*self._command, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)

    def image(self, name: str) -> dict[str, Any]:
        """What the image says of itself: `User`, `Entrypoint`, `Healthcheck` and others."""
        (found,) = json.loads(self("inspect", "--type=image", name))
        config: dict[str, Any] = found["Config"]
        # podman has the health check beside it.
        return {"Healthcheck": found.get("HealthCheck") or found.get("Healthcheck")} | config

    def build_options(self, wheels: Path, pip_config: Path) -> list[str]:
        """For `build`. podman can give the build the packages that this machine's pip has fetched."""
        if not self.is_podman:
            return []
        mounts = [f"--volume={wheels}:/wheels:ro", f"--volume={pip_config}:/etc/pip.conf:ro"]
        return ["--format=docker", "--isolation=chroot", *_limits(), *mounts]

    def run_options(self) -> list[str]:
        """For `run`."""
        return ["--cgroups=disabled", "--read-only-tmpfs=false", *_limits()] if self.is_podman else []


def _limits() -> list[str]:
    """podman asks for more than it may have where root itself is limited."""
    files, processes = (resource.getrlimit(each)[1] for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    return [f"--ulimit=nofile={min(files, 65536)}", f"--ulimit=nproc={min(processes, 8192)}"]


def find_engine(storage: Path) -> Engine | None:
    """Docker where its daemon answers, else podman where it is installed; None without either."""
    if shutil.which("docker") and not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return Engine("docker", storage)
    return Engine("podman", storage) if shutil.which("podman") else None
