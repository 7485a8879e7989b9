"""The predictions of MXNet Model Server, TorchServe and SageMaker over HTTP: a raw body in, a raw body out.

References: https://github.com/awslabs/multi-model-server/blob/master/docs/inference_api.md,
https://pytorch.org/serve/inference_api.html, and
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html. Models are managed by the calls of
`model_server_models.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from model_store.errors import OnegateError
from serve.dialects.base import ANY_SEGMENT, HttpReply, HttpRequest, NoSuchRoute
from serve.dialects.model_server_predictions import MODEL_NAME, inference_of, inference_reply, model_query_of
from serve.dialects.model_server_replies import Manner, Target, error_reply, json_reply, status_reply, worded
from serve.inference import Answer, ModelDescription, Query, ServerDescription, ServerQuery
from serve.openapi.document import model_document


class _Call(NamedTuple):
    """What a path asks. `rest` is what follows; with `query` the query's parameters are inputs too."""

    target: Target
    rest: str = ""
    query: bool = False
    explain: bool = False


class Predictions:
    """`/predictions/{model}[/{version}]`, `/explanations/..` (TorchServe's), `/invocations` (SageMaker's) and, where no
    other dialect claims the first segment, `/{model}[/{version}]/predict`.

    A version is what begins with a digit; a label goes for one. An `OPTIONS` request is answered with the model's
    OpenAPI document. Handlers see the request's headers but for credentials.
    """

    name = "model_server"
    segments: tuple[str, ...] = ("predictions", "explanations", "invocations", ANY_SEGMENT)

    def __init__(self, manner: Manner = "torchserve") -> None:
        self._manner = manner

    def decode(self, request: HttpRequest) -> Query:
        """The query; raises `NoSuchRoute` for other paths and methods and `InvalidInput` for a malformed form."""
        call = _call_of(request.path)
        if call is None or (call.explain and self._manner == "mms"):
            raise NoSuchRoute("Not Found")
        if request.method == "OPTIONS" and call.target.model:
            return model_query_of(call.target)
        return inference_of(request, call.target, rest=call.rest, query=call.query, explain=call.explain)

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """The model's answer, with the content type, status and headers that it was given."""
        if isinstance(answer, ModelDescription):
            return json_reply(request, model_document(answer))
        return inference_reply(answer)

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """`{"code", "type", "message"}` as these servers word it."""
        call = _call_of(request.path)
        target = call.target if call is not None else Target("")
        if not target.model:
            target = Target(request.parameters().get(MODEL_NAME, ""))
        return error_reply(request, error, worded(error, target, self._manner))


class Ping:
    """`GET /ping`. In TorchServe's manner 500 and `Unhealthy` unless every model of the config can be called; in MMS's
    always 200, and `Partial Healthy` when some can."""

    name = "model_server"
    segments: tuple[str, ...] = ("ping",)

    def __init__(self, manner: Manner = "torchserve") -> None:
        self._manner = manner

    def decode(self, request: HttpRequest) -> Query:
        """The question; raises `NoSuchRoute` for other paths and methods."""
        if request.path.rstrip("/") != "/ping":
            raise NoSuchRoute("Not Found")
        if request.method != "GET":
            raise NoSuchRoute("Method Not Allowed", status=405)
        return ServerQuery()

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """`{"status": "Healthy"}`, or what it is instead."""
        assert isinstance(answer, ServerDescription)
        if answer.ready:
            return status_reply(request, "Healthy")
        if self._manner == "torchserve":
            return status_reply(request, "Unhealthy", 500)
        return status_reply(request, "Partial Healthy" if answer.models and answer.missing else "Unhealthy")

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """As `Predictions` has it."""
        return error_reply(request, error, worded(error, Target(""), self._manner))


def _call_of(path: str) -> _Call | None:
    first, *parts = path.removeprefix("/").split("/")
    return _PATHS.get(first, _legacy)(first, parts)


def _predictions(first: str, parts: list[str]) -> _Call | None:
    if not parts or not parts[0]:
        return None
    version = parts[1] if len(parts) > 1 and parts[1] else None
    return _Call(Target(parts[0], version), "/".join(parts[2:]), explain=first == "explanations")


def _invocations(first: str, parts: list[str]) -> _Call | None:
    return None if any(parts) else _Call(Target(""), query=True)


def _legacy(first: str, parts: list[str]) -> _Call | None:
    if not first or len(parts) not in (1, 2) or parts[-1] != "predict" or not all(parts):
        return None
    return _Call(Target(first, parts[0] if len(parts) == 2 else None), query=True)


_PATHS: dict[str, Callable[[str, list[str]], _Call | None]] = {
    "predictions": _predictions,
    "explanations": _predictions,
    "invocations": _invocations,
}
"""First segment -> what reads the others; `_legacy` reads all else."""
