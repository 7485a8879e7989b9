"""Which sources a management call may register, and which of those may bring code: patterns of the config.

A path stands for `file://` and itself, with links followed and `..` resolved before it is compared, and is registered
in that form: what is admitted is what is read later.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from model_store.errors import Forbidden
from model_store.filesystems import is_inside, local_path
from model_store.redirects import Follow

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[\x21-\x7e]+")


def admitted(source: str, allowed: Iterable[str], model_folder: str | None) -> str:
    """`source` as it may be registered: an absolute path without links, or a URL.

    A relative name is one of `model_folder`, and what lies in there needs no pattern. Raises `Forbidden` for everything
    else that no pattern of `allowed` admits; looks at the file system for links.
    """
    try:
        path = local_path(source)
    except OSError as error:
        raise Forbidden(f"source {source!r:.100}: {error}") from error
    if path is None:
        if not _is_admitted_url(source, allowed):
            raise _not_admitted(source)
        return source
    if not path.is_absolute():
        return _in_folder(source, model_folder)
    place = os.path.realpath(path)
    if _lies_in(place, model_folder) or matches(place, allowed):
        return place
    raise _not_admitted(source)


def matches(place: str, patterns: Iterable[str]) -> bool:
    """Whether an absolute path or a URL matches one of `patterns`, in which `*` is any text."""
    url = f"file://{place}" if place.startswith("/") else place
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), url, re.DOTALL) for pattern in patterns)


def redirects(source: str, allowed: Iterable[str]) -> Follow:
    """Where a web server may send on who reads `source`: of what patterns admit, only to what they admit as well. A
    source that they do not admit is not from a management call, and who wrote it into the config trusts its server."""
    patterns = tuple(allowed)
    return (lambda place: _is_admitted_url(place, patterns)) if matches(source, patterns) else (lambda place: True)


def _is_admitted_url(url: str, allowed: Iterable[str]) -> bool:
    # `::` chains file systems of fsspec: what follows it is another place than the pattern speaks of.
    plain = _URL.fullmatch(url) is not None and "::" not in url and "\\" not in unquote(url)
    try:
        return plain and ".." not in unquote(urlsplit(url).path).split("/") and matches(url, allowed)
    except ValueError:  # brackets around what is no address
        return False


def _in_folder(source: str, folder: str | None) -> str:
    if folder is None:
        raise Forbidden(
            f"source {source!r:.100} is relative and there is no folder to find it in; give an absolute path or a URL, "
            "or set `gateway: {model_folder: ...}` in the config"
        )
    name = source.removesuffix("/")
    place = os.path.realpath(Path(folder) / name)
    if not is_inside(name) or not _lies_in(place, folder):
        raise Forbidden(f"source {source!r:.100} leads out of the folder of models")
    return place


def _lies_in(place: str, folder: str | None) -> bool:
    return folder is not None and Path(place).is_relative_to(os.path.realpath(folder))


def _not_admitted(source: str) -> Forbidden:
    return Forbidden(
        f"source {source!r:.100} is not admitted by the config's `allowed_sources`; add a pattern of it there",
        source=source,
    )
