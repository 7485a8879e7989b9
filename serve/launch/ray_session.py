"""Ray for a gateway: one of this machine's own, with settings that leave more of it to the models, or a cluster's."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from serve.launch.error import LaunchError

log = logging.getLogger("onegate")

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

REPLACED_AT_ONCE = {"RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1"}
"""A replica that does not answer its health checks, or hangs, is killed. Asked to stop gracefully, as Ray Serve does by
default, it would keep its cores and GPUs from the next one for as long as the model's deadline."""


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
            with _spared_signals_of_the_group():
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


@contextmanager
def _spared_signals_of_the_group() -> Iterator[None]:
    """What Ray starts within the block has a process group of its own. `timeout`, a shell and some supervisors send
    SIGTERM to a whole group: Ray would die of it at once, while the gateway drains. The kernel ends Ray's processes
    when this one dies, whatever their group."""
    # There is no public function for it, and no setting.
    try:
        from ray._private import services

        started = services.ConsolePopen
    except (ImportError, AttributeError) as error:
        log.info("Ray's processes get the signals of this process group: %s", error)
        yield
        return
    services.ConsolePopen = partial(started, process_group=0)
    try:
        yield
    finally:
        services.ConsolePopen = started


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
