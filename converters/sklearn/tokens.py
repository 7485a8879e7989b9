"""How scikit-learn's vectorizers split texts, as ONNX: each text becomes a row of the numbers of its tokens.

Python's rules are followed exactly. What is a letter is written out into the expressions, as RE2 and Python may know
different versions of Unicode. Lower case is ONNX Runtime's, which is Python's for every letter but two: capital I with
a dot, which Python takes apart into a letter and a mark that ends the word (so do the expressions here), and Greek's
sigma, which `text.py` refuses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value
from converters.sklearn.ops.registry import NotTranslated

NOTHING = -1
"""Number of a token that no term has, and of the places behind a text's end."""
PADDING = "\x02\x02"
"""No token: words have no control characters, characters are one alone."""
LOCALE = "C.UTF-8"
"""Always there with glibc; ONNX Runtime's own default, en_US, is missing from most containers."""
DOTTED_I = "\u0130"


def word_ids(g: Graph, estimator: Any, texts: Value, ids: Mapping[str, int]) -> Value:
    """The numbers of each text's words in order, stop words left out: int64[N, L]."""
    expression = _expression(estimator)
    words = _tokenized(g, texts, tokenexp=expression)
    if estimator.lowercase:
        words = _lowered(g, words)
    stops = estimator.get_stop_words() or ()
    dropped = len(ids)
    numbers = dict(ids) | {str(word): dropped for word in stops}
    found = _looked_up(g, words, numbers)
    if not stops:
        return found
    if estimator.ngram_range[1] == 1:
        return found  # no term has their number
    return _without(g, found, found.equals(np.array(dropped)))


def char_ids(g: Graph, estimator: Any, texts: Value, ids: Mapping[str, int]) -> Value:
    """The numbers of each text's characters: int64[N, L]. `ids` has the blank. For `char` runs of white space are one
    blank; for `char_wb` all white space is, and each text begins and ends with one."""
    characters = _tokenized(g, texts, separators=[""])
    lowered = _lowered(g, characters) if estimator.lowercase else characters
    around_words = estimator.analyzer == "char_wb"
    found = _looked_up(g, lowered, ids)
    white = dict.fromkeys(_white_space(), 1) | ({PADDING: 1} if around_words else {})
    is_white = _looked_up(g, lowered, white, default=0)
    is_dotted = _looked_up(g, characters, {DOTTED_I: 1}, default=0)
    blank = np.array(ids[" "])
    if around_words:
        found = g.concat([g.repeat(blank.reshape(1), texts), found])
        is_white = g.concat([g.repeat(np.array([1]), texts), is_white])
        is_dotted = g.concat([g.repeat(np.array([0]), texts), is_dotted])
    inside = is_white.equals(np.array(1))
    repeated = inside.both(_shifted(g, is_white, 1).equals(np.array(1)))
    # One white character alone stays what it is in `char`: only runs become the blank.
    merged = inside if around_words else inside.both(_shifted(g, is_white, -1).equals(np.array(1)))
    stream = g.where(merged, blank, found)
    if not estimator.lowercase:
        return _without(g, stream, repeated)
    return _without(g, *_with_dots(g, stream, repeated, is_dotted.equals(np.array(1)), ids.get("\u0307", len(ids))))


def _with_dots(g: Graph, stream: Value, dropped: Value, dotted: Value, mark: int) -> tuple[Value, Value]:
    """Behind each capital I with a dot comes the mark that Python makes of the dot; two places for each character."""
    marks = g.where(dotted, np.array(mark), np.array(NOTHING))
    gone = g.where(dropped, np.array(1), np.array(0)), g.where(dotted, np.array(0), np.array(1))
    return _interleaved(g, stream, marks), _interleaved(g, *gone).equals(np.array(1))


def _interleaved(g: Graph, first: Value, second: Value) -> Value:
    """int64[N, L] twice -> int64[N, 2 L]: a1 b1 a2 b2 ..."""
    return g.concat([first.expand_dims(2), second.expand_dims(2)], axis=2).reshape(0, -1)


def _tokenized(g: Graph, texts: Value, **how: Any) -> Value:
    """Tokens of each text, text[N, L + 1], padded; the last column is padding for every text, so that none is empty."""
    tokens = g.op("Tokenizer", texts, domain="com.microsoft", mark=0, mincharnum=1, pad_value=PADDING, **how)
    return g.concat([tokens, g.repeat(np.array([PADDING], dtype=object), texts)])


def _lowered(g: Graph, tokens: Value) -> Value:
    shape = g.op("Shape", tokens, dtype=np.int64)
    flat = g.op("StringNormalizer", tokens.reshape(-1), case_change_action="LOWER", locale=LOCALE)
    return g.op("Reshape", flat, shape)


def _looked_up(g: Graph, tokens: Value, numbers: Mapping[str, int], default: int = NOTHING) -> Value:
    return g.op(
        "LabelEncoder",
        tokens,
        dtype=np.int64,
        domain="ai.onnx.ml",
        keys_strings=list(numbers),
        values_int64s=list(numbers.values()),
        default_int64=default,
    )


def _shifted(g: Graph, flags: Value, by: int) -> Value:
    """Each row moved by one place, 0 coming in."""
    zero = g.repeat(np.array([0]), flags)
    whole = np.iinfo(np.int64).max
    start, end = (0, -1) if by > 0 else (1, whole)
    kept = g.op("Slice", flags, np.array([start]), np.array([end]), np.array([1]))
    return g.concat([zero, kept] if by > 0 else [kept, zero])


def _without(g: Graph, stream: Value, dropped: Value) -> Value:
    """What stays moves together, in order; NOTHING fills up behind."""
    length = g.op("Shape", stream, dtype=np.int64, start=1, end=2)
    places = g.op("Range", g.constant(np.array(0)), length.squeeze(0), g.constant(np.array(1)), dtype=np.int64)
    rank = g.where(dropped, places + length, places)  # dropped ones sort behind all others
    order = g.ops("TopK", rank, length, dtypes=[np.int64, np.int64], axis=1, largest=0, sorted=1)[1]
    return g.op("GatherElements", g.where(dropped, np.array(NOTHING), stream), order, axis=1)


def _expression(estimator: Any) -> str:
    """The vectorizer's token pattern for RE2. Raises `NotTranslated` for one that is not about whole words."""
    pattern = estimator.token_pattern
    shortest = _shortest_word(pattern)
    if shortest is None:
        raise NotTranslated(f"token pattern {pattern!r}: RE2 may read it otherwise; known are words of \\w and \\S+")
    if pattern.endswith(("S+", "S+)")) or "[^" in pattern:
        if estimator.lowercase:
            raise NotTranslated(
                f"token pattern {pattern!r} with lowercase keeps marks that ONNX Runtime's lower case drops"
            )
        return rf"[^{_ranges(tuple(map(ord, _white_space())))}]+"
    letter = f"[{_word_ranges(estimator.lowercase)}]"
    if not estimator.lowercase:
        return f"{letter}{{{shortest},}}"
    before = f"{letter}{{{shortest - 1},}}" if shortest > 1 else f"{letter}*"
    return f"{before}{DOTTED_I}|{letter}{{{shortest},}}"


def _shortest_word(pattern: str) -> int | None:
    """Letters that a word needs under a pattern that takes whole words; None for other patterns."""
    bare = pattern.removeprefix("(?u)")
    for opening, closing in (("\\b", "\\b"), ("", ""), ("(", ")"), ("\\b(", ")\\b"), ("(\\b", "\\b)")):
        if bare.startswith(opening) and bare.endswith(closing) and len(bare) > len(opening) + len(closing):
            body = bare[len(opening) : len(bare) - len(closing)]
            if re.fullmatch(r"(\\w)+\+", body):
                return body.count("\\w")
            if re.fullmatch(r"(\\w)+\*", body) and body.count("\\w") > 1:
                return body.count("\\w") - 1
            if counted := re.fullmatch(r"\\w\{(\d+),\}", body):
                return int(counted[1]) or None
            if body in (r"\S+", r"[^\s]+") and "b" not in opening:
                return 1
    return None


@cache
def _word_ranges(without_dotted_i: bool) -> str:
    letter = re.compile(r"\w")
    return _ranges(
        tuple(
            code
            for code in range(0x110000)
            if not 0xD800 <= code < 0xE000
            and letter.match(chr(code))
            and not (without_dotted_i and code == ord(DOTTED_I))
        )
    )


def _ranges(codes: tuple[int, ...]) -> str:
    """Characters as the inside of a class of RE2, neighbours joined."""
    groups: list[list[int]] = []
    for code in codes:
        if groups and code == groups[-1][1] + 1:
            groups[-1][1] = code
        else:
            groups.append([code, code])
    return "".join(f"\\x{{{first:X}}}-\\x{{{last:X}}}" for first, last in groups)


@cache
def _white_space() -> tuple[str, ...]:
    """What `\\s` matches and `str.split` splits at."""
    white = re.compile(r"\s")
    return tuple(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and white.match(chr(code)))
