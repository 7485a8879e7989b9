"""Names of models: for the shell's completion, at once or not at all and without a word into the line that is typed;
and for who has mistyped one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from model_store.errors import ModelNotFound
from model_store.filesystems import local_path
from model_store.store import Store
from serve.management_client import ManagementClient

COMPLETION_S = 0.5
"""Whoever presses the key waits no longer."""


def served_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names that begin so, of the gateway that the command line and the environment name; none where it is away or
    refuses."""
    client = context.params.get("client")
    if not isinstance(client, ManagementClient):
        return []
    try:
        rows = client.state(timeout_s=COMPLETION_S)["models"]
    except Exception:
        return []
    return sorted({row["name"] for row in rows if row["name"].startswith(incomplete)})


def not_served(state: Mapping[str, Any], model: str) -> ModelNotFound:
    """The error for a model that a gateway of that state does not know."""
    known = ", ".join(sorted({row["name"] for row in state["models"]})) or "none"
    return ModelNotFound(f"model {model!r} is not served here; models: {known}", model=model)


def check_known(client: ManagementClient, model: str) -> None:
    """Raises `ModelNotFound` where the gateway has no model of the name: nothing was found of it, and it may be
    mistyped."""
    state = client.state()
    if all(row["name"] != model for row in state["models"]):
        raise not_served(state, model)


def stored_models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names that begin so, of the store that the command line and the environment name; none of a remote one, which
    would take long."""
    store = context.params.get("store")
    try:
        if not isinstance(store, str) or local_path(store) is None:
            return []
        return sorted(name for name in Store(store).models() if name.startswith(incomplete))
    except Exception:
        return []
