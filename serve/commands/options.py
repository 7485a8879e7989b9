"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from serve.management_client import ManagementClient

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

store_option = click.option(
    "--store",
    envvar="ONEGATE_STORE",
    default="./store",
    show_default=True,
    help="Folder or URL of the model store.",
)

config_argument = click.argument("config", type=click.Path(path_type=Path))


def _client(ctx: click.Context, param: click.Parameter, value: str) -> ManagementClient:
    if "://" not in value:
        raise click.BadParameter(f"expected a URL as http://127.0.0.1:8082, got {value!r}")
    return ManagementClient(value, ctx.meta.get(_KEY))


def _note_key(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None and not (value and value.isascii() and value.isprintable() and " " not in value):
        raise click.BadParameter("expected a key as `onegate keys create` prints it")
    ctx.meta[_KEY] = value


_KEY = "onegate.key"

_key_option = click.option(
    "--key",
    envvar="ONEGATE_KEY",
    metavar="KEY",
    expose_value=False,
    # Read before the client is made that sends it.
    is_eager=True,
    callback=_note_key,
    help="Key or token for a gateway that asks for one; better in ONEGATE_KEY, where no list of processes shows it.",
)

_address_option = click.option(
    "--management",
    "client",
    envvar="ONEGATE_MANAGEMENT",
    default="http://127.0.0.1:8082",
    show_default=True,
    metavar="URL",
    callback=_client,
    help="Management address of the gateway.",
)


def management_option(function: Any) -> Any:
    """`--management` and `--key`; the command gets the `client` of both."""
    return _address_option(_key_option(function))


def port_options(function: Any) -> Any:
    """`--http-port`, `--grpc-port` and `--management-port`, over the config."""
    for name in ("management", "grpc", "http"):
        function = click.option(
            f"--{name}-port", type=click.IntRange(1, 65535), help=f"Instead of gateway.{name}_port of the config."
        )(function)
    return function


def fail(code: int = 1) -> NoReturn:
    """Ends the command with an exit code."""
    click.get_current_context().exit(code)
    raise AssertionError("unreachable")
