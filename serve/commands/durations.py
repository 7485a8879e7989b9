"""Lengths of time as commands take them."""

from __future__ import annotations

import re
from datetime import timedelta

import click

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def duration(text: str) -> timedelta:
    """What `90d`, `2h`, `5m` or `10s` says; raises `BadParameter`."""
    found = re.fullmatch(r"([0-9]{1,6})([dhms])", text)
    if found is None:
        raise click.BadParameter(f"expected a number and d, h, m or s, as 90d, got {text!r:.80}")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
