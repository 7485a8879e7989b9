"""JSON documents taken apart, changed in some places, and written again as no library would write them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.serve.fuzzing.hostile import tokens, words

LONGEST = 20_000
"""Of a document that is taken apart."""

Pairs = list[tuple[str, Any]]


class Object:
    """An object whose keys may come twice."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs


_times = st.sampled_from((1, 1, 2, 3))
_kinds = st.integers(0, 8)
_repeats = st.sampled_from((0, 1, 2, 50))

Place = tuple[Any, int]
"""A list, or the pairs of an object, and an index."""


def parsed(text: bytes) -> Any:
    """The document, objects as `Object`, or None where there is none."""
    if len(text) > LONGEST or text[:1] not in (b"{", b"["):
        return None
    try:
        return json.loads(text, object_pairs_hook=Object)
    except (ValueError, RecursionError):
        return None


def written(value: Any) -> bytes:
    """The text of a document in which bytes stand for themselves."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Object):
        return b"{%b}" % b",".join(b"%b:%b" % (written(key), written(each)) for key, each in value.pairs)
    if isinstance(value, list):
        return b"[%b]" % b",".join(map(written, value))
    return json.dumps(value).encode()


def _places(value: Any) -> Iterator[Place]:
    inner: list[Any] = []
    if isinstance(value, Object):
        inner = [each for _, each in value.pairs]
        yield from ((value.pairs, index) for index in range(len(inner)))
    elif isinstance(value, list):
        inner = value
        yield from ((value, index) for index in range(len(inner)))
    for each in inner:
        yield from _places(each)


def change_json(draw: DrawFn, text: bytes) -> bytes:
    """The document in `text` with one to three places changed; `text` itself where that is no document."""
    document = [parsed(text)]
    if document[0] is None:
        return text
    for _ in range(draw(_times)):
        places = [(document, 0), *_places(document[0])]
        # Most of what matters is not at the top.
        _change(draw, places, places[draw(st.integers(0, len(places) - 1))])
        if not document:
            return b""
    return b"".join(map(written, document))


def _change(draw: DrawFn, places: list[Place], place: Place) -> None:
    inside, index = place
    kind = draw(_kinds)
    pair = isinstance(inside[index], tuple)
    key, value = inside[index] if pair else ("", inside[index])
    if kind == 0:
        del inside[index]
        return
    if kind == 1:
        inside.insert(index, inside[index])
        return
    if kind == 2 and pair:
        inside[index] = (draw(words), value)
        return
    if kind == 3:
        other, at = places[draw(st.integers(0, len(places) - 1))]
        found = other[at] if at < len(other) else b"null"
        # As text: a document must not hold itself.
        value = written(found[1] if isinstance(found, tuple) else found)
    elif kind == 4:
        value = [value] * draw(_repeats)
    elif kind == 5:
        value = draw(words)
    else:
        value = draw(tokens)
    inside[index] = (key, value) if pair else value
