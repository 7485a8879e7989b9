"""`onegate down`."""

from __future__ import annotations

import time

import click

from model_store.errors import ModelNotReady
from serve.commands.options import fail, management_option
from serve.management_client import ManagementClient


@click.command()
@click.option(
    "--timeout", "timeout_s", type=float, default=120.0, show_default=True, help="Seconds to wait for the end."
)
@management_option
def command(client: ManagementClient, timeout_s: float) -> None:
    """Drain the running gateway and end it; returns when it is gone.

    \b
    Example:
      onegate down
    """
    client.shutdown()
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            client.state(timeout_s=5)
        except ModelNotReady:
            return
        time.sleep(0.2)
    click.echo(f"onegate: the gateway at {client.url} still answers after {timeout_s:g} s", err=True)
    fail()
