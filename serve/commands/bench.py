"""`onegate bench MODEL`."""

from __future__ import annotations

import ipaddress
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import msgspec
from rich.table import Table

from serve.commands.model_names import not_served
from serve.commands.options import fail, json_option, management_option, model_argument
from serve.commands.progress import progress
from serve.commands.tables import console, headed
from serve.management_client import ManagementClient

if TYPE_CHECKING:
    from serve.bench.report import Report


@click.command()
@model_argument()
@click.option(
    "--input",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send this file, .npz, .npy, .csv, .json or an image, as `onegate infer` would; any to a handler. [default: "
    "random values for the signature]",
)
@click.option(
    "--rows", type=click.IntRange(1, 4096), default=1, show_default=True, help="Rows of a request without --input."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.2, 60),
    default=3.0,
    show_default=True,
    help="How long each step measures, after half a second of warming up.",
)
@click.option(
    "--max-concurrency",
    type=click.IntRange(1, 1024),
    default=64,
    show_default=True,
    help="Most connections; steps double up to it.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that make the load, each on a CPU of its own at most.",
)
@click.option("--url", help="The endpoint; by default what the gateway's management port names.")
@click.option("--allow-remote", is_flag=True, help="Put load on an address that is not this machine's own.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw to .html or .png.")
@management_option
@json_option
def command(
    model: str,
    file: Path | None,
    rows: int,
    seconds: float,
    max_concurrency: int,
    processes: int,
    url: str | None,
    allow_remote: bool,
    plot: Path | None,
    client: ManagementClient,
    as_json: bool,
) -> None:
    """Put MODEL under load, step by step, find the knee, and suggest values for its batching.

    Each step keeps so many connections busy, each with one request under way, over HTTP with binary tensors. It ends
    when more connections bring nothing, or requests fail. What the client itself can do is measured first, and told
    where it is the limit. The model's other callers feel it.

    \b
    Example:
      onegate bench digits
      onegate bench digits --input digit.npz --max-concurrency 128 --plot digits.html
    """
    from serve.bench.plot import check_plot, write_plot
    from serve.bench.report import Wish, measure_model

    check_plot(plot)
    state = client.state()
    endpoint = _endpoint(url or state["gateway"]["http"], allow_remote)
    _called_rows(state, model)
    wish = Wish(model, endpoint, file, rows, seconds, max_concurrency, processes, client.key, client.tls)
    with progress() as line:
        report = measure_model(wish, lambda: _called_rows(client.state(), model), line.show)
    if plot is not None:
        write_plot(plot, f"{model}: {report.payload}", report.steps, report.verdict.knee)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(report, str_keys=True)))
    else:
        _print(report, plot)
    if report.verdict.knee is None and not report.verdict.still_growing:
        fail(1)


def _called_rows(state: dict[str, Any], model: str) -> list[dict[str, Any]]:
    """Of the versions of the model that calls go to; raises `ModelNotFound` where there is none."""
    rows = [row for row in state["models"] if row["name"] == model and row["default"]]
    if not rows:
        raise not_served(state, model)
    return rows


def _endpoint(url: str, allow_remote: bool) -> str:
    """The URL with an address that can be connected to; raises `UsageError` for one of another machine."""
    parts = urlsplit(url)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise click.UsageError(f"--url: {url!r} is no URL") from error
    if parts.scheme not in ("http", "https") or not host:
        raise click.UsageError(f"--url: expected a URL as http://127.0.0.1:8080, got {url!r}")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    if not allow_remote and not _is_loopback(host):
        raise click.UsageError(f"{url} is not on this machine's loopback; --allow-remote puts load on it all the same")
    port = port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _is_loopback(host: str) -> bool:
    """Whether all addresses of the name are."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address).partition("%")[0]).is_loopback for address in found)


def _print(report: Report, plot: Path | None) -> None:
    out, verdict = console(), report.verdict
    click.echo(f"{report.model} {_versions_text(report.versions)} at {report.url}: {report.payload}")
    click.echo(
        f"requests of {report.request_bytes} bytes, replies of {report.reply_bytes}; out of a server that does nothing "
        f"this client gets {report.ceiling_per_s:.0f} requests/s"
    )
    out.print(_table(report))
    for note in verdict.notes:
        click.echo(f"! {note}")
    if verdict.still_growing:
        click.echo("No knee yet: requests/s still grew at the last step; --max-concurrency goes further.")
    elif verdict.knee is not None:
        click.echo(f"Knee: {verdict.knee} connection{'' if verdict.knee == 1 else 's'}; beyond it calls mostly wait.")
    for value in verdict.values:
        change = f"{value.now}" if value.value == value.now else f"{value.now} -> {value.value}"
        click.echo(f"{value.key}: {change}: {value.reason}")
    if plot is not None:
        click.echo(f"The curve is in {plot}")


def _versions_text(versions: dict[str, int]) -> str:
    """With their shares where there are several."""
    if len(versions) == 1:
        return f"version {next(iter(versions))}"
    return "versions " + ", ".join(f"{called} ({percent}%)" for called, percent in versions.items())


def _table(report: Report) -> Table:
    calls = ("CONNECTIONS", "REQ/S", "ROWS/S", "P50 MS", "P90 MS", "P99 MS", "ERRORS")
    batches = ("BATCH ROWS", "QUEUE MS", "BATCH MS")
    table = headed(*calls, *batches, "MACHINE", "CLIENT", justify="right")
    for step in report.steps:
        knee = step.connections == report.verdict.knee
        table.add_row(
            f"{step.connections}{' knee' if knee else ''}",
            f"{step.requests_per_s:.0f}",
            f"{step.rows_per_s:.0f}",
            *(_cell(value) for value in (step.p50_ms, step.p90_ms, step.p99_ms)),
            str(sum(step.errors.values())),
            *(_cell(value) for value in (step.batch_rows, step.queue_ms, step.batch_ms)),
            f"{step.machine_percent:.0f}%",
            f"{step.client_percent:.0f}%",
            style="bold" if knee else None,
        )
    return table


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
