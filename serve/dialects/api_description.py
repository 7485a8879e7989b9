"""The OpenAPI documents of the endpoint and of the management port: `GET /openapi.json`, and where clients of MXNet
Model Server and TorchServe look for them: `GET /api-description` and `OPTIONS /`.

References: https://github.com/awslabs/multi-model-server/blob/master/docs/rest_api.md and
https://pytorch.org/serve/rest_api.html.
"""

from __future__ import annotations

from typing import Any

import msgspec

from model_store.errors import OnegateError
from serve.dialects.base import HttpReply, HttpRequest, NoSuchRoute, own_error
from serve.inference import AllModels, AllModelsQuery, Answer, Query, ServerQuery
from serve.openapi.document import endpoint_document, management_document

_JSON = ("content-type", "application/json")
_METHODS = {"": "OPTIONS", "openapi.json": "GET", "api-description": "GET"}
"""First path segment -> the method that asks for the document there."""


class ApiDescription:
    """The endpoint's document; the dialect has no state."""

    name = "api_description"
    segments: tuple[str, ...] = tuple(_METHODS)

    def decode(self, request: HttpRequest) -> Query:
        """The question for all models; raises `NoSuchRoute` for other paths and methods."""
        _refuse_other_calls(request)
        return AllModelsQuery()

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """The document, with a path of its own for each model that can be called."""
        assert isinstance(answer, AllModels)
        return _reply(endpoint_document(answer.models))

    def encode_error(self, request: HttpRequest, error: OnegateError) -> HttpReply:
        """`{"error": text, "kind": name}` under the kind's status."""
        return own_error(error)


class ManagementDescription(ApiDescription):
    """The management port's document, which is the same whatever is served."""

    def decode(self, request: HttpRequest) -> Query:
        """A question whose answer says nothing; raises `NoSuchRoute` as the endpoint's."""
        _refuse_other_calls(request)
        return ServerQuery()

    def encode(self, request: HttpRequest, query: Query, answer: Answer) -> HttpReply:
        """The document."""
        return _reply(management_document())


def _refuse_other_calls(request: HttpRequest) -> None:
    method = _METHODS.get(request.path.strip("/"))
    if method is None:
        raise NoSuchRoute("Not Found")
    if request.method != method:
        raise NoSuchRoute("Method Not Allowed", status=405)


def _reply(document: dict[str, Any]) -> HttpReply:
    return HttpReply(200, msgspec.json.format(msgspec.json.encode(document)), [_JSON])
