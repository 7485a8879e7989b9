"""What commands that change one model take and tell: pairs as `2=90`, and the model's versions afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click


def pairs(words: Iterable[str]) -> list[tuple[str, str]]:
    """`2=90` as `("2", "90")`; raises wrong usage for anything else, and for a name that comes twice."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise click.BadParameter(f"expected NAME=VALUE, as 2=90, got {word!r}")
        if name in found:
            raise click.BadParameter(f"{name!r} comes twice")
        found[name] = value
    return list(found.items())


def print_changed(answer: dict[str, Any], as_json: bool) -> None:
    """The versions of the models that were changed, as the management port answers them."""
    if as_json:
        click.echo(json.dumps(answer))
        return
    for model in answer["models"]:
        for version in model["versions"]:
            if version["version"]:
                click.echo(f"{model['model']} version {_version_text(version)}")


def _version_text(version: dict[str, Any]) -> str:
    labels = f" ({', '.join(version['labels'])})" if version["labels"] else ""
    ended = ", no shadow any more" if version["was_shadow"] else ""
    return f"{version['version']}{labels}: {version['traffic']}% of the traffic, {version['state']}{ended}"
