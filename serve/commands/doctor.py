"""`onegate doctor`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection
from functools import partial
from pathlib import Path

import click
import msgspec

from model_store.errors import ConfigError, Forbidden, OnegateError, SourceError, Unauthenticated
from model_store.filesystems import local_path
from serve.commands.config_files import client_of, read_config
from serve.commands.options import fail, json_option, management_of_config_option
from serve.config import Config, load_config
from serve.doctor import configs, gpu, machine, ports, software, stores
from serve.doctor.finding import Check, Finding, problem, run_checks
from serve.launch.ports import listening_ports
from serve.management_client import ManagementClient

RUNNING_S = 2.0
"""For the question whether a gateway runs here already."""

_SIGNS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "problem": ("PROBLEM", "red")}


@click.command()
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Check what this config needs, too.")
@click.option("--store", help="Instead of the config's store.")
@click.option("--address", metavar="HOST:PORT", help="A Ray cluster that `onegate up --address` is to join.")
@click.option(
    "--constraints",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Versions to hold the installed packages against. [default: those of the checkout, where there is one]",
)
@management_of_config_option
@json_option
def command(
    config: Path | None,
    store: str | None,
    address: str | None,
    constraints: Path | None,
    client: ManagementClient | None,
    as_json: bool,
) -> None:
    """Check whether this machine is ready to serve, and with --config whether a config is.

    Looks at ports, CPUs, memory, shared memory, open files, disk, clock, GPUs, Python and packages, Ray, the store; and
    of a config at sources, keys and certificates. Exits with 1 if something is a problem. Writes nothing but a file to
    the store, which it removes again.

    \b
    Example:
      onegate doctor
      onegate doctor --config onegate.yaml --json
    """
    try:
        given = read_config(config, overrides={"store": store})
    except (ConfigError, SourceError) as error:
        findings = [problem("config", error.message, "correct it; docs/config.md lists all keys")]
        findings += run_checks(_machine_checks(load_config(None), address, constraints, ()))
    else:
        given.tell()
        desired = given.config
        own_ports = _running_ports(client or client_of(desired), desired)
        checks = _machine_checks(desired, address, constraints, own_ports)
        findings = run_checks([*checks, *(_config_checks(desired) if config is not None else ())])
    _print(findings, as_json)
    if any(finding.level == "problem" for finding in findings):
        fail(1)


def _machine_checks(
    config: Config, address: str | None, constraints: Path | None, own_ports: Collection[int]
) -> list[tuple[str, Check]]:
    store, temporary = local_path(config.store), Path(tempfile.gettempdir())
    gpu_models = tuple(model.name for model in config.models if model.serve.gpus or model.serve.device == "cuda")
    checks: list[tuple[str, Check]] = [
        ("python", software.check_python),
        ("packages", partial(software.check_packages, constraints or software.CONSTRAINTS)),
        ("ray", software.check_ray),
        ("ports", partial(ports.check_ports, config, own_ports)),
        ("cpus", machine.check_cpus),
        ("memory", machine.check_memory),
        ("shared memory", machine.check_shared_memory),
        ("open files", partial(machine.check_open_files, 2 * config.gateway.max_connections)),
        ("disk", partial(machine.check_disk, temporary, "temporary files")),
        ("clock", partial(machine.check_clock, config.store)),
        ("gpu", partial(gpu.check_gpus, gpu_models)),
        ("store", partial(stores.check_store, config.store)),
    ]
    if store is not None:
        checks.append(("disk", partial(machine.check_disk, store, "store")))
    if address is not None:
        checks.append(("ray", partial(software.check_cluster, address)))
    return checks


def _config_checks(config: Config) -> list[tuple[str, Check]]:
    return [
        ("sources", partial(configs.check_sources, config)),
        ("access", partial(configs.check_access_section, config)),
        ("keys", partial(stores.check_keys, config.store)),
        ("certificates", partial(configs.check_certificates, config)),
    ]


def _running_ports(client: ManagementClient, config: Config) -> set[int]:
    """The ports of the gateway that runs here, if one does. Of one that does not say it, because it asks for a key,
    those of `config`, by which it was found."""
    try:
        gateway = client.state(RUNNING_S)["gateway"]
        return {int(gateway[name].rpartition(":")[2].strip("/")) for name in ("http", "grpc", "management")}
    except (Unauthenticated, Forbidden):
        return {port for _, _, port in listening_ports(config)}
    except (OnegateError, KeyError, ValueError):
        return set()


def _print(findings: list[Finding], as_json: bool) -> None:
    counts = {level: sum(finding.level == level for finding in findings) for level in _SIGNS}
    if as_json:
        click.echo(json.dumps({"findings": msgspec.to_builtins(findings), **counts}))
        return
    for finding in findings:
        sign, colour = _SIGNS[finding.level]
        click.echo(f"{click.style(f'{sign:8}', fg=colour)} {finding.check:14} {finding.text}")
        if finding.advice:
            click.echo(f"{'':24}-> {finding.advice}")
    click.echo(f"{counts['ok']} ok, {counts['warning']} warnings, {counts['problem']} problems")
