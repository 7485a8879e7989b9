"""Requests with a key, and what hypothesis makes of the key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from model_store.access_keys import AccessKey, hash_of
from serve.access.guard import Guard
from serve.config_sections.access import AccessConfig
from tests.serve.fuzzing.hostile import WORDS, damage
from tests.serve.fuzzing.http_requests import changed_requests
from tests.serve.fuzzing.inputs import HttpInput

_SECRET = "Vx0_k-2mQh7Zr4t9Yw1Bc5Ne8Ld3Jf6Gp0Sa2Ui_oE4"
KEY = f"og_0123456789ab_{_SECRET}"


def guard() -> Guard:
    """One that knows the key, which calls all models but `people`, and lets others read."""
    key = AccessKey(
        id="0123456789ab",
        name="fuzz",
        salt="5a",
        hash=hash_of("5a", _SECRET),
        scopes=("infer:double", "infer:c*", "view"),
        created="2026-01-02T03:04:05+00:00",
    )
    made = Guard(AccessConfig(anonymous=["view"]))
    made.take_over([key])
    return made


def keyed(seeds: Sequence[HttpInput]) -> list[HttpInput]:
    """`seeds`, each with the key in one of its two places."""
    places = ("authorization", f"Bearer {KEY}"), ("x-api-key", KEY)
    return [replace(seed, headers=(*seed.headers, places[index % 2])) for index, seed in enumerate(seeds)]


@st.composite
def changed_credentials(draw: DrawFn, seeds: Sequence[HttpInput]) -> HttpInput:
    """One of `seeds`, most often with other credentials."""
    request = seeds[draw(st.integers(0, len(seeds) - 1))]
    headers = dict(request.headers)
    for name in draw(_changed):
        text = headers.get(name, KEY).encode("latin-1")
        headers[name] = draw(st.sampled_from(WORDS)) if draw(_seldom) else damage(draw, text).decode("latin-1")
    return replace(request, headers=tuple(headers.items())).as_served()


def changed_keyed_requests(seeds: Sequence[HttpInput]) -> st.SearchStrategy[HttpInput]:
    """`seeds` with changed credentials, or changed otherwise."""
    return changed_credentials(seeds) | changed_requests(seeds)


_changed = st.sampled_from(((), ("authorization",), ("x-api-key",), ("authorization", "x-api-key")))
_seldom = st.sampled_from((True, *[False] * 7))
