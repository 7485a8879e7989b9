"""`onegate up CONFIG`, and with `--watch FOLDER`."""

from __future__ import annotations

import logging
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import click

from model_store.errors import ConfigError, OnegateError
from serve.access.guard import check_access
from serve.commands.config_files import read_config
from serve.commands.imported import trust_option
from serve.commands.options import client_files, fail, own_files_options, port_options
from serve.commands.progress import Progress, unsettled
from serve.commands.tables import console, curl_line, device_lines, model_table
from serve.config import Config
from serve.launch import ports
from serve.launch.applications import start_applications, stop_applications
from serve.launch.desired_state import store_lease, write_generation
from serve.launch.private_folder import private_folder
from serve.launch.ray_session import import_ray, ray_session
from serve.launch.stop_signal import StopSignal
from serve.log_format import LogStyle
from serve.logs import followed, log_to_file
from serve.management_client import ManagementClient
from serve.store_policy import StorePolicy, store_policy
from serve.tls_files import ClientFiles, check_ports
from serve.tracing.settings import tracing_settings
from serve.watched_models import WatchedModels, newest_generation
from serve.watching import FolderWatch

log = logging.getLogger("onegate")

LOG_FILE = "onegate.log"
POLL_S = 0.2
LOADING_PATIENCE_S = 60.0
"""How long `up` waits for the last models to load before it shows the table without them: replicas wait for CPUs that
the machine may never have."""

PATIENCE_S = 15.0
"""How long the management port may be silent (while the controller restarts) before `up` says so."""


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option(
    "--watch",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Also serve what lies in FOLDER, as it comes and goes.",
)
@click.option("--address", help="Join the Ray cluster at this address instead of starting a local one.")
@click.option("--store", help="Instead of the config's store.")
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="How log lines are written; instead of the config's logging.format.",
)
@trust_option
@port_options
@own_files_options
def command(
    config: Path | None,
    watch: Path | None,
    address: str | None,
    store: str | None,
    log_format: str | None,
    trusted: tuple[str, ...],
    http_port: int | None,
    grpc_port: int | None,
    management_port: int | None,
) -> None:
    """Start a gateway with the models of CONFIG, and serve until Ctrl-C or SIGTERM, which drain it.

    CONFIG is a YAML file, or what another server was configured with, as `onegate import` reads it; what has no
    counterpart is listed then.

    With --watch, CONFIG may be left out. FOLDER holds exported files, or models as Triton and TensorFlow Serving keep
    them: <model>/<version>/.., with a config.pbtxt or without. They are served, changed and retired as they come,
    change and go.

    \b
    Example:
      onegate up configs/quickstart.yaml
      onegate up config.properties
      onegate up --watch models
    """
    if config is None and watch is None:
        raise click.UsageError("expected CONFIG, or --watch FOLDER")
    overrides = {
        "store": store,
        "gateway.http_port": http_port,
        "gateway.grpc_port": grpc_port,
        "gateway.management_port": management_port,
        "logging.format": log_format,
    }
    given = read_config(config, overrides=overrides, trusted=trusted)
    desired = given.config
    if desired.logging.format == "json":
        log_to_file(None, "up", LogStyle("json", desired.logging.level))
    given.tell(_say, in_lines=bool(log.handlers))
    check_access(desired.access)
    # Asks for what is missing before anything starts.
    tracing_settings(desired.tracing)
    client = _client(desired, client_files(click.get_current_context()))
    check_ports(desired.gateway, client.tls)
    watched = None if watch is None else _watched(watch, desired, client)
    stop = StopSignal()
    policy = store_policy(desired)
    with store_lease(desired), private_folder() as folder:
        # After the lease: the same config twice is told that it runs already, not that somebody has its ports.
        ports.check_ports(desired)
        write_generation(desired)
        try:
            _serve(desired, policy, watched, folder, address, stop, client)
        except KeyboardInterrupt:
            _say("ended without draining")
            fail(1)


def _watched(folder: Path, desired: Config, client: ManagementClient) -> WatchedModels:
    if not folder.is_dir():
        raise ConfigError(f"--watch: {str(folder)!r} is no folder; make it first")
    watch = FolderWatch(folder.resolve(), _say)
    # The first look. What still stands so when the gateway has started is served at once.
    watch.poll()
    return WatchedModels(watch, client, lambda: newest_generation(desired), _say)


def _say(text: str) -> None:
    if log.handlers:
        # All lines of standard error are JSON then.
        log.warning("%s", text)
    else:
        click.echo(f"onegate: {text}", err=True)


def _client(desired: Config, own: ClientFiles) -> ManagementClient:
    """The own gateway's management; its key is a new one, the cluster's secret. It trusts the port's own certificate,
    and shows that too where it has nothing else to show."""
    url, key = ports.management_url(desired), secrets.token_hex(32)
    tls = desired.gateway.management_tls
    if tls is None:
        return ManagementClient(url, key)
    certificate, private_key = own.certificate or tls.certificate, own.private_key or tls.private_key
    # In absolute terms: `up` moves to a folder of its own.
    shown = os.path.abspath(certificate), os.path.abspath(private_key)
    return ManagementClient(url, key, ClientFiles(tls.certificate, *shown, pinned=True))


def _serve(
    desired: Config,
    policy: StorePolicy,
    watched: WatchedModels | None,
    folder: Path,
    address: str | None,
    stop: StopSignal,
    client: ManagementClient,
) -> None:
    progress = Progress(_say)
    progress.show("starting Ray")
    import_ray(local=address is None)
    stop.install()
    if stop.came:
        return
    log_file = folder / LOG_FILE
    with ray_session(folder, address), followed(log_file):
        stop.install()
        if stop.came:
            return
        progress.show("starting the gateway")
        start_applications(desired, policy, None if address else log_file, client.key or "")
        try:
            state = _wait_until_settled(client, watched, stop, progress)
            progress.end()
            if state is not None:
                _greet(desired, state)
                if watched is not None:
                    watched.note_outcomes(state, quietly=True)
                _wait_for_end(client, watched, stop)
        finally:
            progress.show("draining: requests under way are answered first")
            stop_applications(desired, local=address is None)
            progress.end()


def _wait_until_settled(
    client: ManagementClient, watched: WatchedModels | None, stop: StopSignal, progress: Progress
) -> dict[str, Any] | None:
    """The first state in which every model is ready or failed, and the gateway answers accordingly, or has been loading
    for long; None when the end came first."""
    loading_since: float | None = None
    while not stop.wait(POLL_S):
        if watched is not None:
            watched.step()
        try:
            state = client.state(timeout_s=PATIENCE_S)
        except OnegateError as error:
            progress.show(error.message)
            continue
        if state["stopping"]:
            return None
        missing = unsettled(state)
        if missing is None:
            return state
        progress.show(missing)
        if any(row["state"] == "CONVERTING" for row in state["models"]):
            loading_since = None
        elif loading_since is None:
            loading_since = time.monotonic()
        elif time.monotonic() - loading_since > LOADING_PATIENCE_S:
            return state
    return None


def _greet(desired: Config, state: dict[str, Any]) -> None:
    out = console()
    out.print(model_table(state))
    for row in state["models"]:
        if row["state"] == "FAILED":
            _say(f"model {row['name']!r} is not served: {row['reason']}")
    for told in device_lines(state):
        _say(told)
    line = curl_line(desired, state)
    if line is not None:
        out.print("\nTry it:", style="bold")
        # Not through rich, which would break the line.
        click.echo(line)
    out.print(f"\nManagement at {state['gateway']['management']}. Ctrl-C drains and ends.")
    sys.stdout.flush()


def _wait_for_end(client: ManagementClient, watched: WatchedModels | None, stop: StopSignal) -> None:
    silent_since: float | None = None
    while not stop.wait(1.0):
        if watched is not None:
            watched.step()
        try:
            state = client.state(timeout_s=PATIENCE_S)
            if state["stopping"]:
                return
            silent_since = None
            if watched is not None:
                watched.note_outcomes(state)
        except OnegateError as error:
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > PATIENCE_S:
                _say(error.message)
                silent_since = time.monotonic()
