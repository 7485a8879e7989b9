"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import msgspec

from model_store.errors import ModelNotFound, OnegateError, Unauthenticated
from model_store.filesystems import store_access
from model_store.store import Store
from serve.commands.model_names import served_models, stored_models
from serve.management_client import ManagementClient
from serve.tls_files import ClientFiles

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

store_option = click.option(
    "--store",
    envvar="ONEGATE_STORE",
    default="./store",
    show_default=True,
    help="Folder or URL of the model store.",
)


class VersionNumber(click.IntRange):
    """The store's number of a version; what is none is told as that, not as a range."""

    name = "version number"

    def __init__(self) -> None:
        super().__init__(min=1)


config_argument = click.argument("config", type=click.Path(path_type=Path))


def model_argument(*, required: bool = True) -> Callable[[F], F]:
    """MODEL, which the shell completes with what a running gateway serves."""
    return click.argument("model", required=required, shell_complete=served_models)


def stored_model_argument(*, required: bool = True) -> Callable[[F], F]:
    """MODEL, which the shell completes with what lies in a local store."""
    return click.argument("model", required=required, shell_complete=stored_models)


def _client(ctx: click.Context, param: click.Parameter, value: str | None) -> ManagementClient | None:
    if value is None:
        return None
    if "://" not in value:
        raise click.BadParameter(f"expected a URL as http://127.0.0.1:8082, got {value!r}")
    return client_for(value)


def _note_key(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None and not (value and value.isascii() and value.isprintable() and " " not in value):
        raise click.BadParameter("expected a key as `onegate keys create` prints it")
    ctx.meta[_KEY] = value


_KEY = "onegate.key"


def refusal_text(error: OnegateError, meta: Mapping[str, Any]) -> str:
    """What a command says of `error`; where it takes `--key` and got none, and one is needed, how to give it."""
    if isinstance(error, Unauthenticated) and meta.get(_KEY, "") is None:
        return f"{error.message}; give it by --key KEY or in ONEGATE_KEY"
    return error.message


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


def _address_option(**default: Any) -> Any:
    return click.option(
        "--management",
        "client",
        envvar="ONEGATE_MANAGEMENT",
        metavar="URL",
        callback=_client,
        help="Management address of the gateway.",
        **default,
    )


def _note_file(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    ctx.meta[f"onegate.{param.name}"] = value


def _file_option(name: str, text: str) -> Any:
    return click.option(
        f"--{name}",
        envvar=f"ONEGATE_{name.replace('-', '_').upper()}",
        metavar="FILE",
        type=click.Path(dir_okay=False),
        is_eager=True,
        expose_value=False,
        callback=_note_file,
        help=text,
    )


_ca_option = _file_option("ca", "Who signed the certificates of `https` ports; else whom the system trusts.")


def own_files_options(function: Any) -> Any:
    """`--client-certificate` and `--client-key`; see `client_files`."""
    function = _file_option("client-key", "The private key of --client-certificate.")(function)
    return _file_option("client-certificate", "What this command shows to a port that asks clients for one.")(function)


def client_files(ctx: click.Context) -> ClientFiles:
    """What the options for TLS said."""
    ca, certificate, key = (ctx.meta.get(f"onegate.{name}") for name in ("ca", "client_certificate", "client_key"))
    if (certificate is None) != (key is None):
        raise click.UsageError("--client-certificate and --client-key go together")
    return ClientFiles(ca, certificate, key)


def management_option(function: Any) -> Any:
    """`--management`, `--key` and the options for TLS; the command gets the `client` of them all."""
    return _address_option(default="http://127.0.0.1:8082", show_default=True)(credential_options(function))


def management_of_config_option(function: Any) -> Any:
    """As `management_option`, for a command that reads a config: `client` is None where the line names no address, and
    the gateway is where the config says; see `config_files.client_of`."""
    return _address_option(show_default="where the config says")(credential_options(function))


def credential_options(function: Any) -> Any:
    """`--key` and the options for TLS, for a command that finds the gateway by itself; see `config_files.client_of`."""
    return _key_option(_ca_option(own_files_options(function)))


def client_for(url: str, certificate: str | None = None) -> ManagementClient:
    """A client with the credentials of the command that runs. `certificate` is the port's own, which is trusted unless
    `--ca` says whom to trust."""
    context = click.get_current_context()
    files = client_files(context)
    if certificate is not None and files.ca is None:
        files = msgspec.structs.replace(files, ca=certificate, pinned=True)
    return ManagementClient(url, context.meta.get(_KEY), files)


def existing_store(url: str) -> Store:
    """The store at `url`, for a command that only makes sense of one that is there; raises `StoreError` where a local
    one is not, as it is where its name was mistyped."""
    store = Store(url)
    with store_access(store.filesystem, "read"):
        store.filesystem.check_present()
    return store


def newest_version(store: Store, model: str) -> int:
    """The number of the newest stored version; raises `ModelNotFound` where there is none."""
    numbers = store.versions(model)
    if not numbers:
        known = ", ".join(store.models()) or "none"
        raise ModelNotFound(f"store {store.url!r} has no model {model!r}; models: {known}", model=model)
    return numbers[-1]


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
