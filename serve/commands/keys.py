"""`onegate keys`: makes, lists, revokes and rotates the keys of callers, in the store."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import click
import msgspec

from model_store import access_keys
from model_store.access_keys import AccessKey
from model_store.store import Store
from serve.access import key_ring
from serve.commands.durations import duration
from serve.commands.options import existing_store, json_option, store_option
from serve.commands.tables import console, headed
from serve.config_sections.rules import SCOPE_PATTERN, SCOPE_TEXT


def _scope(text: str) -> str:
    if re.fullmatch(SCOPE_PATTERN, text) is None:
        raise click.BadParameter(f"expected {SCOPE_TEXT}, got {text!r:.80}")
    return text


def _name(text: str) -> str:
    if not key_ring.is_name(text):
        raise click.BadParameter(f"expected {key_ring.NAME_TEXT}, got {text!r:.80}")
    return text


_name_argument = click.argument("name", type=_name)


@click.group()
def command() -> None:
    """Make, list, revoke and rotate the keys of callers.

    Keys lie in the store, as hashes. A running gateway hears of a change within seconds. It looks at keys where
    `access.anonymous` of its config lacks a scope.

    \b
    Example:
      onegate keys create shop --scope infer:ranker --rate 50
      onegate keys rotate shop --grace 24h
      onegate keys revoke shop
    """


@command.command("create")
@_name_argument
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=_scope,
    metavar="SCOPE",
    help=f"{SCOPE_TEXT}; several times for several.",
)
@click.option("--expires", type=duration, metavar="90d", help="How long it is valid. [default: until it is revoked]")
@click.option("--rate", type=click.FloatRange(0, 1e6, min_open=True), help="Calls a second, in each gateway process.")
@click.option("--concurrency", type=click.IntRange(1, 1_000_000), help="Calls at once, in each gateway process.")
@store_option
@json_option
def create_command(
    name: str,
    scopes: tuple[str, ...],
    expires: timedelta | None,
    rate: float | None,
    concurrency: int | None,
    store: str,
    as_json: bool,
) -> None:
    """Make a key NAME and print it, once: it can't be had again.

    \b
    Example:
      onegate keys create shop --scope infer:ranker --scope view --expires 90d --store ./store
    """
    end = datetime.now(UTC) + expires if expires else None
    opened = Store.open(store)
    key, text = key_ring.create(opened, name, scopes, expires=end, rate_per_s=rate, concurrency=concurrency)
    _print_new(opened, key, text, as_json)


@command.command("list")
@store_option
@json_option
def list_command(store: str, as_json: bool) -> None:
    """List the keys, without what is secret of them.

    \b
    Example:
      onegate keys list --store ./store
    """
    keys = access_keys.newest(existing_store(store)).keys
    if as_json:
        click.echo(json.dumps([key_ring.described(key) for key in keys]))
        return
    table = headed("NAME", "ID", "SCOPES", "CREATED", "EXPIRES", "RATE", "CONCURRENCY")
    for key in keys:
        rate = "" if key.rate_per_s is None else f"{key.rate_per_s:g}/s"
        places = "" if key.concurrency is None else str(key.concurrency)
        table.add_row(key.name, key.id, " ".join(key.scopes), _day(key.created), _until(key), rate, places)
    console().print(table)


@command.command("revoke")
@_name_argument
@store_option
@json_option
def revoke_command(name: str, store: str, as_json: bool) -> None:
    """End all keys NAME, or the one with the id NAME. Gateways refuse them within seconds.

    \b
    Example:
      onegate keys revoke shop --store ./store
    """
    ids = key_ring.revoke(existing_store(store), name)
    click.echo(json.dumps({"revoked": ids}) if as_json else f"revoked {name}: {', '.join(ids)}")


@command.command("rotate")
@_name_argument
@click.option(
    "--grace", type=duration, default="24h", show_default=True, metavar="24h", help="How long the old key is valid."
)
@store_option
@json_option
def rotate_command(name: str, grace: timedelta, store: str, as_json: bool) -> None:
    """Make a new key with the scopes and limits of NAME, and end the old one after --grace.

    \b
    Example:
      onegate keys rotate shop --grace 24h --store ./store
    """
    opened = existing_store(store)
    ring = access_keys.newest(opened)
    now = datetime.now(UTC)
    former = [key for key in ring.keys if key.name == name and not key.has_expired(now)]
    if not former:
        raise key_ring.unknown(name, ring.keys)
    last = former[-1]
    expires = None
    if last.expires is not None:
        # As long as it was to be valid when it was made.
        expires = now + (datetime.fromisoformat(last.expires) - datetime.fromisoformat(last.created))
    key, text = access_keys.make_key(
        name, last.scopes, expires=expires, rate_per_s=last.rate_per_s, concurrency=last.concurrency
    )
    end = now + grace
    kept = (_ending(each, end) if each in former else each for each in key_ring.present(ring.keys, now))
    access_keys.replace(opened, ring, (*kept, key))
    _print_new(opened, key, text, as_json)
    if not as_json:
        click.echo(f"the old key is valid until {end.isoformat(timespec='seconds')}")


def _ending(key: AccessKey, end: datetime) -> AccessKey:
    return key if key.has_expired(end) else msgspec.structs.replace(key, expires=end.isoformat())


def _print_new(store: Store, key: AccessKey, text: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**key_ring.described(key), "store": store.url, "key": text}))
        return
    # Alone on standard output, so that it can be led into a file.
    click.echo(text)
    scopes = " ".join(key.scopes)
    click.echo(f"key {key.name!r} ({scopes}) in {store.url!r}, {_until(key)}; it is shown this once", err=True)


def _day(time: str) -> str:
    return time[:16].replace("T", " ")


def _until(key: AccessKey) -> str:
    return "no end" if key.expires is None else f"until {_day(key.expires)}"
