"""How the state looks to people: tables and the line to paste."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Collection
from typing import Any

import numpy as np
from rich.console import Console, JustifyMethod
from rich.table import Table

from model_store.errors import OnegateError
from serve.config import Config
from serve.devices import UNASKED

ALL_CALLS = "100%"

MAX_PASTED_VALUES = 1024
"""A longer input does not go into a command line."""


def console() -> Console:
    """Standard output; wide where it is no terminal, so that no line is broken. Brackets and colons are text, as in
    `pip install 'onegate[torch]'`."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 200
    return Console(width=max(width, 80), highlight=False, markup=False, emoji=False)


def headed(*headings: str, folded: Collection[str] = (), justify: JustifyMethod = "left") -> Table:
    """A table without rows. A cell that is too wide is cut, and ends in `…`; in a `folded` column it goes on below."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        if heading in folded:
            table.add_column(heading, overflow="fold", justify=justify)
        else:
            table.add_column(heading, no_wrap=True, justify=justify)
    return table


def model_table(state: dict[str, Any]) -> Table:
    """The models: framework -> runtime, parity error, executor, state, traffic, address. Traffic is left out where each
    model has one version, which all calls get: the line has more room then, and misses nothing."""
    traffic = [_traffic_text(row) for row in state["models"]]
    is_shared = any(text not in ("", ALL_CALLS) for text in traffic)
    headings = ("MODEL", "VERSION", "FRAMEWORK -> RUNTIME", "PARITY ERROR", "EXECUTOR", "STATE")
    table = headed(*headings, *(["TRAFFIC"] if is_shared else []), "ADDRESS", folded=("ADDRESS",))
    for row, text in zip(state["models"], traffic, strict=True):
        *cells, address = _cells(row, state["gateway"]["http"])
        table.add_row(*cells, *([text] if is_shared else []), address)
    return table


def _cells(row: dict[str, Any], http: str) -> tuple[str, ...]:
    address = f"{http}/v2/models/{row['name']}" if row["default"] else (row["reason"] or "")
    return (
        row["name"],
        _version_text(row),
        f"{row['framework']} -> {row['runtime']}" if row["framework"] else "",
        "" if row["max_rel_error"] is None else f"{row['max_rel_error']:.1e}",
        _executor_text(row),
        row["state"],
        address,
    )


def _traffic_text(row: dict[str, Any]) -> str:
    """Which calls it gets, and by which labels: `90% stable`, `shadow 50%`, `kept`; empty where it answers none yet."""
    if row["kept_until"] is not None:
        return "kept"
    if row["shadow"] is not None and not row["traffic"]:
        share = f"shadow {row['shadow']:g}%"
    elif row["traffic"] or row["state"] in ("READY", "IDLE"):
        share = f"{row['traffic']}%"
    else:
        return ""
    return f"{share} {', '.join(row['labels'])}".rstrip()


def _version_text(row: dict[str, Any]) -> str:
    """What clients call it by, and the store's number where that is another."""
    number = "" if row["version"] is None else str(row["version"])
    return f"{row['called']} (stored as {number})" if row["called"] not in (None, number) else number


def _executor_text(row: dict[str, Any]) -> str:
    """With the device where it is a GPU, or was to be."""
    if row["executor"] != "replicas":
        return row["executor"] or ""
    text = f"replicas {row['replicas']['ready']}/{row['replicas']['wanted']}"
    return f"{text} on {row['device']}" if row["gpus"] or row["device"] not in (None, "cpu") else text


def device_lines(state: dict[str, Any]) -> list[str]:
    """A line for each version that asked for a GPU and computes on the CPU, and why."""
    return [
        f"model {row['name']!r} computes on the CPU: {row['device_reason']}"
        for row in state["models"]
        if row["device_reason"] not in (None, UNASKED)
    ]


def curl_line(config: Config, state: dict[str, Any]) -> str | None:
    """A line to paste that calls the first model with `examples`, with the first of them; None where there is none."""
    ready = {row["name"] for row in state["models"] if row["default"] and row["state"] in ("READY", "IDLE")}
    for model in config.models:
        if model.examples and model.name in ready:
            try:
                body = _first_example(model.examples)
            except (OSError, ValueError, OnegateError):
                continue
            if body is not None:
                return (
                    f"curl -s {_curl_files(config)}{state['gateway']['http']}/v2/models/{model.name}/infer -d '{body}'"
                )
    return None


def _curl_files(config: Config) -> str:
    """Whom curl is to trust, and with what it is to prove itself, where the endpoint speaks TLS."""
    tls = config.gateway.tls
    if tls is None:
        return ""
    own = "" if tls.client_ca is None else "--cert CERTIFICATE --key KEY "
    return f"--cacert {shlex.quote(tls.certificate)} {own}"


def _first_example(path: str) -> str | None:
    from serve.tensors import datatype_of, to_json_values

    inputs = []
    with np.load(path, allow_pickle=False) as examples:
        for name, rows in examples.items():
            row = rows[:1]
            values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in to_json_values(row)]
            inputs.append({"name": name, "shape": list(row.shape), "datatype": datatype_of(row), "data": values})
    if sum(len(sent["data"]) for sent in inputs) > MAX_PASTED_VALUES:
        return None
    return json.dumps({"inputs": inputs}, separators=(",", ":"))
