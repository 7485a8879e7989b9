"""`onegate up`: starts Ray and the applications, waits for the end, and leaves nothing behind.

A user's folder may hold a `serve.py`, a `ray.py` or a `converters/` of their own, and Ray's workers put the driver's
working folder first on their path: so `up` moves to a private folder before Ray starts. Everything temporary of all
processes, Ray's own files included, lies in that folder, which is removed at the end.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from model_store import generations
from model_store.errors import OnegateError
from model_store.filesystems import local_path
from model_store.store import Store
from serve.caller import os_user
from serve.config import Config
from serve.config_sections.gateway import port_url
from serve.store_policy import StorePolicy

log = logging.getLogger("onegate")

LEASE_FILE = "gateway.lock"

LOGICAL_CPUS_PER_CORE = 2
"""A local Ray is told of twice the cores: while a version replaces another, both hold replicas."""

OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""Tensors never travel through Ray's object store, so the local one is small."""

LESS_UNASKED = {
    # How often Ray Serve's controller looks at everything, and how often each replica writes Ray Serve's own metrics:
    # both do so ten times a second by default.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "10000",
    # Counts and times of every event in each of Ray's processes, for its debug logs.
    "RAY_event_stats": "0",
    # How often a node's agent looks at every process, for Ray's dashboard, which is off.
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
}
"""Settings with which a local Ray leaves more of a small machine to the models: while nobody asks, its processes use
about a fifth of two cores. Without these they wake up 9% more often, and to do more."""


class LaunchError(OnegateError):
    """The gateway can't be started."""


REPLACED_AT_ONCE = {"RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1"}
"""A replica that does not answer its health checks, or hangs, is killed. Asked to stop gracefully, as Ray Serve does by
default, it would keep its cores and GPUs from the next one for as long as the model's deadline."""


def listening_ports(config: Config) -> tuple[tuple[str, str, int], ...]:
    """Key below `gateway`, host and port of each."""
    gateway = config.gateway
    return (
        ("http_port", gateway.host, gateway.http_port),
        ("grpc_port", gateway.host, gateway.grpc_port),
        ("management_port", gateway.management_host, gateway.management_port),
    )


def check_ports(config: Config) -> None:
    """Raises `LaunchError` when somebody listens on a port already.

    The gateway's sockets share their port (SO_REUSEPORT), so a second gateway would quietly take half of the requests.
    """
    for key, host, port in listening_ports(config):
        check_port(key, host, port)


def check_port(key: str, host: str, port: int) -> None:
    """Raises `LaunchError` when nobody could listen there; `key` is where the config says so."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise LaunchError(
            f"gateway.{key}: {host}:{port} can't be used ({error.strerror}); "
            "end what listens there or set another port",
            port=port,
        ) from error


def management_url(config: Config) -> str:
    """Where this machine's own programs reach the management port."""
    gateway = config.gateway
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(gateway.management_host, gateway.management_host)
    return port_url(gateway.management_tls, host, gateway.management_port)


def write_generation(config: Config) -> int:
    """Makes `config` the desired state of its store, unless it is already; returns the generation's number.

    Raises `StoreError` when the store can't be written.
    """
    store = Store(config.store)
    newest = generations.newest(store)
    if newest is not None and newest.config == config.document():
        return newest.number
    number = newest.number + 1 if newest else 1
    read = {model.name: number for model in config.models}
    return generations.append(store, number, config.document(), os_user(), "up", read).number


@contextmanager
def store_lease(config: Config) -> Iterator[None]:
    """Holds a local store's desired state for the block: two gateways would take over each other's.

    Raises `LaunchError` when another `onegate up` holds it, `StoreError` when the store can't be written. The lease
    ends with the process, however it ends.
    """
    Store.open(config.store)
    folder = local_path(config.store)
    if folder is None:
        yield
        return
    with (folder / LEASE_FILE).open("a+") as lease:
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lease.seek(0)
            raise LaunchError(
                f"store {config.store!r} belongs to a running gateway (process {lease.read().strip() or 'unknown'}); "
                "use `onegate apply`, or give this gateway a store of its own"
            ) from error
        lease.truncate(0)
        lease.write(str(os.getpid()))
        lease.flush()
        yield


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


def import_ray(*, local: bool) -> None:
    """Imports Ray with the settings of a local one, which it reads only then; and quiets its driver."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if local:
        # Ray starts workers at niceness 15: any other work would starve the replicas.
        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # Ray spells it so
        for name, value in (LESS_UNASKED | REPLACED_AT_ONCE).items():
            os.environ.setdefault(name, value)
        # A token in the environment needs no file in a home folder that may be read-only.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray.serve  # noqa: F401  # its logger is set up by the import

    logging.getLogger("ray.serve").setLevel(logging.WARNING)


@contextmanager
def ray_session(folder: Path, address: str | None) -> Iterator[None]:
    """A local Ray, or a connection to the cluster at `address`, until the end of the block."""
    import ray

    try:
        if address is None:
            ray.init(
                num_cpus=LOGICAL_CPUS_PER_CORE * (os.cpu_count() or 1),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                _temp_dir=str(folder / "ray"),
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise LaunchError(f"Ray can't be started or reached: {str(error).splitlines()[0]}") from error
    try:
        if address is None:
            _end_unneeded_processes()
        yield
    finally:
        ray.shutdown()


def _end_unneeded_processes() -> None:
    """Ends what Ray starts on every head node and a local one has no use for: the autoscaler, which no node obeys, the
    log monitor, whose lines no driver prints, and the server of the state API, which nobody asks. Together they use
    about 6% of a core for nothing."""
    # There is no public function for it, and no setting.
    try:
        from ray._private.worker import _global_node as node

        for end in (node.kill_monitor, node.kill_log_monitor, node.kill_dashboard):
            end(check_alive=False)
    except (ImportError, AttributeError, RuntimeError) as error:
        log.info("Ray keeps its monitors: %s", error)


def start_applications(config: Config, policy: StorePolicy, log_file: Path | None, secret: str) -> None:
    """Starts controller and gateway in the Ray that is connected, and returns when they run.

    `policy` is the config's. `log_file` collects the log lines of a local Ray's processes; None stands for a cluster of
    several nodes. `secret` is what they know each other by.
    """
    from serve.app import gateway_settings, log_style, refuse_second, start_front
    from serve.control.gateways import Gateways
    from serve.controller import ControllerSettings

    gateway = config.gateway
    log_path = str(log_file) if log_file else None
    refuse_second()
    try:
        start_front(
            ControllerSettings(
                config.store,
                secret,
                nodes_may_join=log_file is None,
                log_file=log_path,
                gateways_per_node=gateway.replicas if gateway.every_node else 0,
                policy=policy,
                log_style=log_style(config),
            ),
            gateway_settings(config, policy, secret, log_path),
            Gateways(gateway.replicas, gateway.every_node, None if log_file else own_node()),
        )
    except RuntimeError as error:
        raise LaunchError(f"the gateway did not start: {' '.join(str(error).split())[:500]}") from error


def own_node() -> str:
    """Ray's id of the node where this process runs. Management, which listens on loopback, has to be there."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def stop_applications(config: Config, *, local: bool) -> None:
    """Drains the gateway. In a shared cluster, ends onegate's other applications too; a local Ray ends as a whole."""
    from serve.app import STOP_MARGIN_S, delete_all_versions, stop_front

    timeout_s = config.gateway.drain_timeout_s + 2 * STOP_MARGIN_S
    stop_front(timeout_s)
    if not local:
        delete_all_versions(timeout_s)


class StopSignal:
    """SIGINT and SIGTERM as an event; a second one ends the process at once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.install()

    def install(self) -> None:
        """Takes the signals over; again when somebody else did, as Ray does when it is imported and when it starts."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()

    @property
    def came(self) -> bool:
        """Whether one came."""
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Waits at most `timeout_s` for one; whether it came."""
        return self._event.wait(timeout_s)
