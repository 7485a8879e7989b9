"""`python -m tests.image.check`: builds the image and runs it as docs/containers.md says, on this machine.

Needs Docker, or podman as root; without either it says so, shows nothing, and exits with 0. With `--debian-base` the
base comes from Debian's packages and not from a registry. Exits with 1 at the first thing that is not as it should be.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import click

from tests.e2e.running import free_ports, get
from tests.image.building import ROOT, base_name, build, debian_base
from tests.image.engine import Engine, find_engine

USER = 10001
STARTED_S = 120.0
EXAMPLES = ROOT / "examples/quickstart"
CONFIG = ROOT / "configs/container.yaml"
PIXELS = ", ".join(str(number % 17) for number in range(64)).encode()


class Container:
    """The image as it should be run: no root, no rights, a root that nobody can write, the host's network."""

    def __init__(self, engine: Engine, image: str, folder: Path) -> None:
        self.engine, self.name = engine, f"onegate-check-{folder.name}"
        ports = free_ports(3)
        self.url = f"http://127.0.0.1:{ports[0]}"
        keys = {"HOST": "127.0.0.1"} | dict(zip(("HTTP_PORT", "GRPC_PORT", "MANAGEMENT_PORT"), ports, strict=True))
        environment = [f"--env=ONEGATE_GATEWAY_{key}={value}" for key, value in keys.items()]
        locked = ["--read-only", "--tmpfs=/tmp:rw,size=1g", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        files = [f"--volume={CONFIG}:/config/onegate.yaml:ro", f"--volume={EXAMPLES}:/models:ro"]
        options = [*engine.run_options(), "--network=host", *locked, *environment, *files]
        options.append(f"--volume={self.name}:/store")
        engine("run", "--detach", f"--name={self.name}", *options, image)

    def log(self) -> str:
        done = self.engine.tried("logs", self.name)
        return done.stdout + done.stderr

    def wait_until_greeted(self) -> None:
        end = time.monotonic() + STARTED_S
        while "Ctrl-C drains" not in self.log():
            assert time.monotonic() < end, self.log()
            time.sleep(0.5)

    def exec(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.engine.tried("exec", self.name, *words)

    def exit_code(self) -> int:
        return int(self.engine("inspect", "--format={{.State.ExitCode}}", self.name))

    def remove(self) -> None:
        self.engine.tried("rm", "--force", "--time=5" if self.engine.is_podman else "--volumes", self.name)
        self.engine.tried("volume", "rm", self.name)


class Load(threading.Thread):
    """Calls without a pause until nobody listens any more; `outcomes` counts statuses, and what broke."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        while True:
            try:
                status, _ = get(f"{self.url}/predict/digits-mlp", b"[" + PIXELS + b"]")
                self.outcomes[str(status)] += 1
            except urllib.error.URLError as error:
                if isinstance(error.reason, ConnectionRefusedError):
                    return
                self.outcomes[repr(error.reason)] += 1
            except OSError as error:
                self.outcomes[repr(error)] += 1


def check_image(engine: Engine, image: str) -> str:
    """What the image says of itself."""
    said = engine.image(image)
    assert said["User"] == f"{USER}:{USER}", said["User"]
    assert (said["Entrypoint"], said["Cmd"]) == (["onegate"], ["up", "/config/onegate.yaml"])
    assert said["StopSignal"] in ("SIGTERM", "15")
    assert said["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    size = int(engine("inspect", "--type=image", "--format={{.Size}}", image))
    return f"{size / 1e6:.0f} MB"


def check_running(container: Container, said: dict[str, Any]) -> str:
    """It is healthy and answers, as its own user in every process, and its root can't be written."""
    health = container.exec(*said["Healthcheck"]["Test"][1:])
    assert health.returncode == 0, health.stderr
    status, body = get(f"{container.url}/predict/digits-mlp", b"[" + PIXELS + b"]")
    assert status == 200, body
    assert len(json.loads(body)["outputs"]["scores"]) == 10
    status, body = get(f"{container.url}/predictions/cifar", (EXAMPLES / "cat.jpg").read_bytes())
    assert (status, json.loads(body)[0]["class"]) == (200, "cat")
    code = "import psutil; print(sorted({(p.uids().real, p.uids().effective) for p in psutil.process_iter()}))"
    assert container.exec("python", "-c", code).stdout.strip() == f"[({USER}, {USER})]"
    for folder in ("/", "/opt/onegate", "/home/onegate", "/models"):
        refused = container.exec("sh", "-c", f"touch {folder}/written")
        assert "Read-only file system" in refused.stderr, (folder, refused.stderr)
    return "healthy, answers numbers and a picture, all processes of user 10001, root read-only"


def check_stop(container: Container) -> str:
    """SIGTERM to process 1 drains: nobody who was let in is failed."""
    load = [Load(container.url) for _ in range(8)]
    for each in load:
        each.start()
    time.sleep(2)
    began = time.monotonic()
    container.engine("stop", "--time=45", container.name)
    took_s = time.monotonic() - began
    for each in load:
        each.join(10)
    outcomes: Counter[str] = sum((each.outcomes for each in load), Counter())
    assert set(outcomes) == {"200"}, outcomes
    assert container.exit_code() == 0, container.log()
    return f"drained in {took_s:.1f} s with exit code 0; {outcomes['200']} requests meanwhile, none failed"


def check_wrong_use(engine: Engine, image: str) -> str:
    """A config that is not there is told in a line."""
    done = engine.tried("run", "--rm", "--network=host", *engine.run_options(), image)
    assert done.returncode in (1, 2), done
    assert "/config/onegate.yaml" in done.stderr
    return f"without a config: exit code {done.returncode}, {done.stderr.strip().splitlines()[-1]!r}"


def check(engine: Engine, folder: Path, base: str, target: str) -> None:
    """Everything, printed line by line."""
    image = build(engine, folder, target, base)
    print(f"built {target} on {base}: {check_image(engine, image)}", flush=True)
    print(check_wrong_use(engine, image), flush=True)
    container = Container(engine, image, folder)
    try:
        container.wait_until_greeted()
        print(check_running(container, engine.image(image)), flush=True)
        print(check_stop(container), flush=True)
    finally:
        container.remove()
        engine.tried("rmi", "--force", image)


@click.command()
@click.option("--debian-base", "debian", is_flag=True, help="Make the base of Debian's packages; needs debootstrap.")
@click.option("--target", type=click.Choice(["cpu", "gpu"]), default="cpu", show_default=True)
def main(debian: bool, target: str) -> None:
    """Build the image and run it as docs/containers.md says."""
    with tempfile.TemporaryDirectory(prefix="onegate-image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        engine = find_engine(folder)
        if engine is None:
            print("skipped: neither a running Docker nor podman\nNothing was shown: no image was built.")
            return
        try:
            check(engine, folder, debian_base(engine, folder) if debian else base_name(), target)
        except (AssertionError, RuntimeError, subprocess.SubprocessError) as error:
            sys.exit(f"onegate image: {error}")


if __name__ == "__main__":
    main()
