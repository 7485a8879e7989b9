"""Texts for the parity gate, made of what the vectorizers know and of what tokenizers stumble over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

COUNT = 160
SEPARATORS = (" ", " ", " ", ", ", ". ", "  ", "\n", "\t", "-", "/", "'", "_", "\u00a0", "...")
STRANGERS = (
    "unseen", "x", "42", "3.14", "naïve", "ÉCOLE", "Straße", "İstanbul", "ΟΔΟΣ", "中文字", "😀", "e\u0301", "½",
    "don't", "snake_case", "a_b", "ﬁne", "Ⅷ", "١٢٣", "Ǆ", "\u200bzero",
)  # fmt: skip
"""Words that split, fold or lower in unusual ways."""
ODD_TEXTS = (
    "", " ", "\n", ".", "!?", "\u00a0", "\u2003 \u3000", "a", "A B", "  leading", "trailing  ", "e\u0301te\u0301",
    "😀😀 smile", "tab\tand\nline\r\nend", "_", "__init__", "\x1c", "x" * 300,
)  # fmt: skip


def sentences(vectorizers: Sequence[Any]) -> np.ndarray:
    """About 180 texts as `bytes[N]`: words of the vocabularies joined in many ways, upper case, words that no
    vocabulary has, nothing but punctuation, the empty text."""
    generator = np.random.default_rng(0)
    words = _words(vectorizers)
    texts = [*ODD_TEXTS]
    for _ in range(COUNT):
        parts: list[str] = []
        for _ in range(int(generator.integers(1, 14))):
            word = str(generator.choice(words)) if generator.random() < 0.85 else str(generator.choice(STRANGERS))
            parts += [_case(word, int(generator.integers(0, 6))), str(generator.choice(SEPARATORS))]
        texts.append("".join(parts[:-1]))
    found = np.empty(len(texts), dtype=object)
    found[:] = [text.encode() for text in texts]
    return found


def _case(word: str, kind: int) -> str:
    return {0: word.upper(), 1: word.capitalize()}.get(kind, word)


def _words(vectorizers: Sequence[Any]) -> list[str]:
    known: list[str] = []
    for vectorizer in vectorizers:
        terms = list(getattr(vectorizer, "vocabulary_", None) or ())
        known += terms if len(terms) <= 500 else terms[:: len(terms) // 500]
        stops = vectorizer.get_stop_words() if hasattr(vectorizer, "get_stop_words") else None
        known += sorted(stops or ())[:80]
    return [word for word in known if word] or ["alpha", "beta", "gamma", "delta"]
