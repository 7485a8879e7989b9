"""A client of the endpoint for the command line: Open Inference over HTTP with binary tensors, and raw bodies."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from model_store.errors import (
    Forbidden,
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    OnegateError,
    RateLimited,
    Unauthenticated,
)
from serve.access.callers import bearer
from serve.https_calls import opened, unreachable
from serve.inference import Tensors
from serve.tensors import datatype_of, from_raw, to_raw
from serve.tls_files import NO_FILES, ClientFiles

TIMEOUT_S = 60.0
HEADER_LENGTH = "Inference-Header-Content-Length"
"""Header of a body that has binary tensors behind its JSON."""


def infer_body(inputs: Tensors, signature: str | None = None) -> tuple[bytes, int]:
    """The body of a v2 inference request with binary tensors both ways, and how much of it is JSON: `HEADER_LENGTH`."""
    raw = [to_raw(tensor) for tensor in inputs.values()]
    described = [
        {
            "name": name,
            "datatype": datatype_of(tensor),
            "shape": list(tensor.shape),
            "parameters": {"binary_data_size": len(content)},
        }
        for (name, tensor), content in zip(inputs.items(), raw, strict=True)
    ]
    parameters: dict[str, Any] = {"binary_data_output": True}
    if signature is not None:
        parameters["signature"] = signature
    header = json.dumps({"inputs": described, "parameters": parameters}).encode()
    return b"".join((header, *raw)), len(header)


class InferenceClient:
    """The endpoint at `url`, as `http://127.0.0.1:8080`, called with `key` where one is needed, and with the files of
    `tls` where it is `https`."""

    def __init__(self, url: str, key: str | None = None, tls: ClientFiles = NO_FILES) -> None:
        self._url = url.rstrip("/")
        self._credentials = bearer(key)
        self._tls = tls

    def metadata(self, model: str, version: int | None = None) -> dict[str, Any]:
        """The v2 metadata; raises `ModelNotFound` or `ModelNotReady`."""
        answer: dict[str, Any] = json.loads(self._call(self._path(model, version))[0])
        return answer

    def infer(self, model: str, inputs: Tensors, version: int | None = None, signature: str | None = None) -> Tensors:
        """All outputs for `inputs`; raises what the endpoint refuses."""
        content, header_length = infer_body(inputs, signature)
        body, length = self._call(f"{self._path(model, version)}/infer", content, {HEADER_LENGTH: str(header_length)})
        return _decode(body, length)

    def predict(self, model: str, body: bytes, content_type: str, version: int | None = None) -> bytes:
        """What the model's processor or handler answers to a raw body; raises what the endpoint refuses."""
        path = f"/predictions/{model}" + (f"/{version}" if version is not None else "")
        return self._call(path, body, {"Content-Type": content_type})[0]

    def _path(self, model: str, version: int | None) -> str:
        return f"/v2/models/{model}" + (f"/versions/{version}" if version is not None else "")

    def _call(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[bytes, int]:
        request = urllib.request.Request(self._url + path, data=body, headers=self._credentials | (headers or {}))
        try:
            with opened(request, TIMEOUT_S, self._tls) as reply:
                content: bytes = reply.read()
                return content, int(reply.headers.get(HEADER_LENGTH, len(content)))
        except urllib.error.HTTPError as error:
            raise _refusal(error) from error
        except OSError as error:
            raise unreachable(f"no endpoint answers at {self._url}", error, "--url names another") from error


def _decode(body: bytes, header_length: int) -> Tensors:
    outputs: Tensors = {}
    position = header_length
    for output in json.loads(body[:header_length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        content = body[position : position + size]
        outputs[output["name"]] = from_raw(output["name"], output["datatype"], output["shape"], content)
        position += size
    return outputs


def _refusal(error: urllib.error.HTTPError) -> OnegateError:
    kinds: dict[int, type[OnegateError]] = {
        400: InvalidInput,
        401: Unauthenticated,
        403: Forbidden,
        404: ModelNotFound,
        429: RateLimited,
        503: ModelNotReady,
    }
    try:
        told = json.load(error)
        text = told.get("error") or told["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        text = f"the endpoint answered with HTTP status {error.code}"
    return kinds.get(error.code, OnegateError)(text)
