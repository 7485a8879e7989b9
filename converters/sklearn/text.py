"""CountVectorizer, TfidfVectorizer and TfidfTransformer as ONNX, beside the translations in `ops/`.

ONNX Runtime's `com.microsoft.Tokenizer` (in its CPU build) splits a text by an RE2 expression or into characters,
tokens become numbers, and `TfIdfVectorizer` counts their n-grams. skl2onnx 1.20 has converters of its own for these;
they split at ASCII's letters only and join n-grams across words. How a text is split is `tokens.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converters.sklearn.ops.graph import Graph, Value
from converters.sklearn.ops.registry import NotTranslated, translates
from converters.sklearn.ops.table import Table
from converters.sklearn.tokens import NOTHING, char_ids, word_ids

LARGEST_VOCABULARY = 100_000
"""Columns that are dense in ONNX and sparse in scikit-learn: beyond this scikit-learn is much faster."""


@translates("transform", "CountVectorizer", table=True)
def count_vectorizer(g: Graph, estimator: Any, table: Table) -> Value:
    """How often each term of the vocabulary occurs: text[N] or text[N, 1] -> float64[N, terms]."""
    counts = _counts(g, estimator, table.text().reshape(-1))
    return g.where(counts > 0, 1.0, 0.0) if estimator.binary else counts


@translates("transform", "TfidfVectorizer", table=True)
def tfidf_vectorizer(g: Graph, estimator: Any, table: Table) -> Value:
    """The counts, weighted by how rare each term is and scaled to length 1: text[N] -> float64[N, terms]."""
    weighted: Value = tfidf_transformer(g, estimator._tfidf, count_vectorizer(g, estimator, table))
    return weighted


@translates("transform", "TfidfTransformer")
def tfidf_transformer(g: Graph, estimator: Any, counts: Value) -> Value:
    """tf * idf, each row divided by its norm: float64[N, terms] -> float64[N, terms]."""
    weights = counts
    if estimator.sublinear_tf:
        weights = g.where(counts.equals(0.0), 0.0, g.where(counts.equals(0.0), 1.0, counts).log() + 1.0)
    if estimator.use_idf:
        weights = weights * np.asarray(estimator.idf_, np.float64)[None]
    if estimator.norm is None:
        return weights
    norm = weights.abs().sum() if estimator.norm == "l1" else (weights * weights).sum().sqrt()
    return weights / g.where(norm.equals(0.0), 1.0, norm)


@translates("transform", "HashingVectorizer", table=True)
def hashing_vectorizer(g: Graph, estimator: Any, table: Table) -> Value:
    """Refused: its columns are many and mostly zero, and hashed from words that ONNX's opset 18 can't join."""
    raise NotTranslated(
        "HashingVectorizer spreads words over many columns by their hash, which stays with scikit-learn; "
        "TfidfVectorizer has an ONNX form"
    )


def _counts(g: Graph, estimator: Any, texts: Value) -> Value:
    vocabulary = {str(term): int(column) for term, column in estimator.vocabulary_.items()}
    _refuse_what_runs_python(estimator)
    if len(vocabulary) > LARGEST_VOCABULARY:
        raise NotTranslated(f"a vocabulary of {len(vocabulary)} terms is faster in scikit-learn, which keeps it sparse")
    if estimator.lowercase:
        _refuse_greek(vocabulary)
    shortest, longest = estimator.ngram_range
    if estimator.analyzer == "word":
        grams = {tuple(term.split(" ")): column for term, column in vocabulary.items()}
        ids = _numbered(part for gram in grams for part in gram)
        stream = word_ids(g, estimator, texts, ids)
    else:
        grams = {tuple(term): column for term, column in vocabulary.items()}
        _refuse_inner_spaces(estimator, grams)
        ids = _numbered([" ", *(part for gram in grams for part in gram)])
        stream = char_ids(g, estimator, texts, ids)
        shortest = min(map(len, grams)) if estimator.analyzer == "char_wb" else shortest  # short words count whole
    numbered = {
        tuple(ids[part] for part in gram): column for gram, column in grams.items() if shortest <= len(gram) <= longest
    }
    return _count_grams(g, stream, numbered, len(vocabulary))


def _numbered(parts: Any) -> dict[str, int]:
    return {part: index for index, part in enumerate(dict.fromkeys(parts))}


def _count_grams(g: Graph, stream: Value, grams: Mapping[tuple[int, ...], int], columns: int) -> Value:
    """Occurrences of each gram in each row of `stream`, int64[N, L] with NOTHING for what belongs to none."""
    if not grams:
        return g.repeat(np.zeros(columns), stream)
    ordered = sorted(grams.items(), key=lambda item: len(item[0]))
    longest = len(ordered[-1][0])
    starts = [sum(len(gram) for gram, _ in ordered if len(gram) < size) for size in range(1, longest + 1)]
    # It has as many columns as the largest index asks for, so the last column needs a gram, if one that never comes.
    places = [column for _, column in ordered]
    pool = [part for gram, _ in ordered for part in gram]
    if columns - 1 not in places:
        places, pool = [*places, columns - 1], [*pool, *[NOTHING - 1] * longest]
    counts = g.op(
        "TfIdfVectorizer",
        stream,
        dtype=np.float32,
        mode="TF",
        min_gram_length=len(ordered[0][0]),
        max_gram_length=longest,
        max_skip_count=0,
        ngram_counts=starts,
        ngram_indexes=places,
        pool_int64s=pool,
    )
    return counts.double()


def _refuse_what_runs_python(estimator: Any) -> None:
    kind = type(estimator).__name__
    for name in ("preprocessor", "tokenizer"):
        if getattr(estimator, name) is not None:
            raise NotTranslated(f"{kind} calls a {name} of the user's own")
    if callable(estimator.analyzer):
        raise NotTranslated(f"{kind} calls an analyzer of the user's own")
    if estimator.strip_accents is not None:
        raise NotTranslated(f"{kind} strips accents, for which ONNX has no operator")


def _refuse_greek(vocabulary: Mapping[str, int]) -> None:
    """ONNX Runtime lowers a capital sigma to one letter; Python to another at the end of a word."""
    if any("\u03c2" in term or "\u03c3" in term for term in vocabulary):
        raise NotTranslated(
            "the vocabulary has the Greek letter sigma, whose lower case depends on its place in a word"
        )


def _refuse_inner_spaces(estimator: Any, grams: Mapping[tuple[str, ...], int]) -> None:
    """Words share the blank between them in the stream of characters, so only grams that touch it at an end, and are
    not that blank alone, are counted as `char_wb` does."""
    if estimator.analyzer == "char_wb" and any(gram == (" ",) or " " in gram[1:-1] for gram in grams):
        raise NotTranslated("analyzer 'char_wb' with the blank as a term of its own counts it twice a word")
