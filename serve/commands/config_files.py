"""The config file that a command is given: onegate's own YAML, or what another server was configured with.

The latter is read through the importer, as if `onegate import` had written its config into the working folder, and what
the import would say is said. Which paths are another server's, `serve/importing/servers.py` knows.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from model_store.errors import ConfigError
from serve.commands.imported import print_leftovers, require_served
from serve.commands.options import client_for
from serve.config import Config, layered, load_config
from serve.config_sections.layers import read_config_file
from serve.config_sections.yaml_text import read_config_text
from serve.importing.base import Imported
from serve.importing.config_text import config_text
from serve.importing.servers import KINDS, read_server, reader_of
from serve.importing.trust import with_trust
from serve.launch.ports import management_url
from serve.management_client import ManagementClient

YAML = (".yaml", ".yml", ".json")
"""Endings of files that are never taken for another server's."""

Say = Callable[[str], None]


def _say(text: str) -> None:
    click.echo(f"onegate: {text}", err=True)


@dataclass(frozen=True)
class ConfigFile:
    """A config, and where it is another server's what was read of that."""

    config: Config
    path: Path | None = None
    imported: Imported | None = None

    def tell(self, say: Say = _say, *, in_lines: bool = False) -> None:
        """Whose the file is, how to own its config, and what has no counterpart: as a table on standard error, or by
        `say` too. Nothing for a YAML file."""
        if self.imported is None:
            return
        trust = [word for name in _trusted(self.imported) for word in ("--trust", name)]
        command = shlex.join(["onegate", "import", str(self.path), *trust, "--output", "onegate.yaml"])
        kind = f"read as a configuration of another server ({self.imported.server})"
        say(f"{self.path}: {kind}; `{command}` writes the config to keep")
        for remark in self.imported.remarks:
            say(remark)
        if not in_lines:
            print_leftovers(self.imported.all_leftovers())
            return
        for left in self.imported.all_leftovers():
            say(": ".join(part for part in (left.model, left.file, left.key, left.reason) if part))


def client_of(config: Config) -> ManagementClient:
    """A client of the gateway that runs with `config`, with the credentials of the command that runs. It trusts the
    very certificate that the config names, where that can be read here."""
    tls = config.gateway.management_tls
    readable = tls is not None and os.access(tls.certificate, os.R_OK)
    return client_for(management_url(config), tls.certificate if tls is not None and readable else None)


def read_config(
    path: Path | None, *, overrides: Mapping[str, Any] = MappingProxyType({}), trusted: Collection[str] = ()
) -> ConfigFile:
    """The config at `path`, with environment and `overrides` over it as `serve.config.load_config` has them.

    `trusted` names models of another server whose code may run. Raises `ConfigError` and `SourceError`.
    """
    if path is not None and _is_another_servers(path):
        return _imported(path, overrides, trusted)
    if trusted:
        raise click.UsageError("--trust goes with another server's configuration; in a YAML file say `trust: true`")
    if path is None or path.suffix in YAML:
        return ConfigFile(load_config(path, overrides=overrides), path)
    try:
        source = read_config_file(path)
    except ConfigError as error:
        if path.exists():
            raise ConfigError(f"{error.message}; or name another server's configuration: {KINDS}") from error
        raise
    return ConfigFile(layered(source, Path(os.path.abspath(path)).parent, overrides=overrides), path)


def _is_another_servers(path: Path) -> bool:
    # Only of a regular file may bytes be read twice: a config may come through a pipe.
    if path.suffix in YAML or not (path.is_file() or path.is_dir()):
        return False
    with contextlib.suppress(OSError):
        return reader_of(path.resolve()) is not None
    return False


def _trusted(imported: Imported) -> list[str]:
    return [model.name for model in imported.models if model.mapping is not None and model.mapping.get("trust")]


def _imported(path: Path, overrides: Mapping[str, Any], trusted: Collection[str]) -> ConfigFile:
    imported = with_trust(read_server(path), trusted)
    require_served(imported, path)
    folder = Path.cwd()
    source = read_config_text(config_text(imported, folder), f"the config imported from {path}")
    return ConfigFile(layered(source, folder, overrides=overrides), path, imported)
