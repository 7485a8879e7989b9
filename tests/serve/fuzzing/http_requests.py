"""Requests that hypothesis makes of right ones: changed bodies, paths, queries, headers and methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.serve.fuzzing.hostile import NUMBERS, SIZES, WORDS, damage, words
from tests.serve.fuzzing.inputs import HttpInput
from tests.serve.fuzzing.json_texts import change_json

HEADER_LENGTH = "inference-header-content-length"
METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "A")
HEADERS = (
    "content-type", "content-encoding", "accept", "accept-encoding", "transfer-encoding", "x-request-id", "host",
    "origin", "x-amzn-sagemaker-target-model", "explain", "url_path", HEADER_LENGTH, "x-own", "cookie", "onegate-error",
)  # fmt: skip
VALUES = (
    "gzip", "deflate, gzip", "x-gzip", "br", "identity", "text/csv", "text/csv; header=present", "application/json",
    "application/x-npy", "application/x-npz", "image/png", "multipart/form-data", "multipart/form-data; boundary=",
    "multipart/form-data; boundary=7d9b", 'multipart/form-data; boundary="7d9b', "multipart/form-data; boundary*0=7d",
    "application/x-www-form-urlencoded", "text/plain; charset=utf-99", "a/b+json", ";;;", "*;q=0", "gzip;q=a, *;q=1e9",
    "chunked", "http://example.org", "InvalidInput", "True",
)  # fmt: skip


@st.composite
def changed_requests(draw: DrawFn, seeds: Sequence[HttpInput]) -> HttpInput:
    """One of `seeds`, its body changed most often, and now and then what stands around it."""
    request = seeds[draw(st.integers(0, len(seeds) - 1))]
    if request.body and draw(_most_often):
        request = _with_body(draw, request)
    change = draw(_around)
    return (request if change is None else change(draw, request)).as_served()


def _with_body(draw: DrawFn, request: HttpInput) -> HttpInput:
    headers, body = dict(request.headers), request.body
    if (length := headers.get(HEADER_LENGTH)) is not None:
        header = change_json(draw, body[: int(length)])
        headers[HEADER_LENGTH] = str(len(header)) if draw(_most_often) else str(draw(_sizes))
        body = header + damage(draw, body[int(length) :])
        return replace(request, headers=tuple(headers.items()), body=body)
    changed = change_json(draw, body)
    if changed is body or draw(_now_and_then):
        changed = damage(draw, changed)
    return replace(request, body=changed)


def _path(draw: DrawFn, request: HttpInput) -> HttpInput:
    segments = request.path.split("/")
    index = draw(st.integers(0, len(segments)))
    segments[index : index + draw(st.integers(0, 1))] = [draw(words)] * draw(st.integers(0, 2))
    return replace(request, path="/".join(segments))


def _query(draw: DrawFn, request: HttpInput) -> HttpInput:
    pairs = [pair.partition("=")[::2] for pair in request.query.split("&")] if request.query else []
    names = st.sampled_from(("model_name", "url", "min_worker", "limit", "next_page_token", "batch_size", "plan", "x"))
    index = draw(st.integers(0, len(pairs)))
    values = words | st.sampled_from([number.decode() for number in NUMBERS])
    name = pairs[index][0] if index < len(pairs) and draw(st.booleans()) else draw(names)
    pairs[index : index + 1] = [(name, draw(values))] * draw(st.integers(0, 2))
    return replace(request, query="&".join("=".join(pair) for pair in pairs))


def _header(draw: DrawFn, request: HttpInput) -> HttpInput:
    headers = dict(request.headers)
    name = draw(st.sampled_from(HEADERS))
    headers[name] = draw(st.sampled_from(VALUES) | st.sampled_from(WORDS))
    return replace(request, headers=tuple(headers.items()))


def _method(draw: DrawFn, request: HttpInput) -> HttpInput:
    return replace(request, method=draw(st.sampled_from(METHODS)))


_around = st.sampled_from((*[None] * 8, _path, _query, _header, _header, _method))
_most_often = st.sampled_from((True, True, True, True, True, True, True, False))
_now_and_then = st.sampled_from((False, False, False, False, True))
_sizes = st.sampled_from(SIZES)
