"""A gateway as a user starts it: the console script in a process of its own, on free ports, ended at the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

ONEGATE = Path(sys.executable).with_name("onegate")
START_S = 120.0
STOP_S = 60.0


class Running:
    """A running `onegate up`; `config` may be changed and applied again. What it `serves` may be another file, whose
    ports the environment says then."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        environment: dict[str, str] | None = None,
        onegate: Path = ONEGATE,
        words: Sequence[str] = (),
        serves: str = "onegate.yaml",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.folder = folder
        self.onegate = onegate
        self.config = config
        self.tls = tls
        ports = free_ports(3)
        names = ("http_port", "grpc_port", "management_port")
        config["gateway"] = dict(zip(names, ports, strict=True)) | config.get("gateway", {})
        http, management = ("https" if key in config["gateway"] else "http" for key in ("tls", "management_tls"))
        self.url = f"{http}://127.0.0.1:{config['gateway']['http_port']}"
        self.grpc = f"127.0.0.1:{config['gateway']['grpc_port']}"
        self.management = f"{management}://127.0.0.1:{config['gateway']['management_port']}"
        self.environment = os.environ | {"ONEGATE_MANAGEMENT": self.management} | (environment or {})
        self.write_config()
        self.log = folder / "up.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [onegate, "up", serves, *words],
                cwd=folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def write_config(self) -> None:
        (self.folder / "onegate.yaml").write_text(yaml.safe_dump(self.config))

    def wait_until_settled(self) -> dict[str, Any]:
        """The first state in which every model is ready or failed, and the greeting is printed."""
        self.wait_until_greeted()
        return self.state()

    def wait_until_greeted(self) -> None:
        """Returns when every model is ready or failed, and the greeting is printed."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            if "Ctrl-C drains" in self.log.read_text():
                return
            time.sleep(0.1)
        raise AssertionError(f"not settled after {START_S} s:\n{self.log.read_text()}")

    def state(self) -> dict[str, Any]:
        return json.loads(get(f"{self.management}/api/state", tls=self.tls)[1])

    def rows(self, model: str) -> list[dict[str, Any]]:
        return [row for row in self.state()["models"] if row["name"] == model]

    def command(self, *words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Another `onegate` command against this gateway."""
        return subprocess.run(
            [self.onegate, *words],
            cwd=folder or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=START_S,
        )

    def processes(self) -> list[psutil.Process]:
        """Every process that `up` started, itself included; Ray's workers are told by their session folder."""
        try:
            main = psutil.Process(self.process.pid)
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def replica_processes(self, model: str, version: int = 1) -> list[psutil.Process]:
        """The processes of a version's model replicas."""
        return self.serve_processes(f"{model}-v{version}", "Model")

    def serve_processes(self, application: str, deployment: str) -> list[psutil.Process]:
        """The processes of a Ray Serve deployment."""
        return self.ray_processes(f"ray::ServeReplica:{application}:{deployment}")

    def ray_processes(self, title: str) -> list[psutil.Process]:
        """The processes whose title begins so."""
        return [process for process in self.processes() if _title(process).startswith(title)]

    def kill_controller(self) -> None:
        """Ends the controller's process with SIGKILL; Ray starts another."""
        [controller] = self.serve_processes("onegate-controller", "Controller")
        controller.send_signal(signal.SIGKILL)
        controller.wait(10)

    def stop(self, number: int = signal.SIGTERM, *, group: bool = False) -> int:
        """Ends it, by a signal to it alone or to its whole process group, and returns its exit code."""
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.process.wait(STOP_S)

    def end(self) -> None:
        """Leaves nothing behind, whatever happened."""
        left = self.processes()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


@contextlib.contextmanager
def running(folder: Path, config: dict[str, Any], **options: Any) -> Iterator[Running]:
    """A gateway for the block."""
    gateway = Running(folder, config, **options)
    try:
        yield gateway
    finally:
        gateway.end()


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def get(
    url: str, body: bytes | None = None, headers: dict[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> tuple[int, bytes]:
    """Status and body of one request."""
    request = urllib.request.Request(url, data=body, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=40, context=tls) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
