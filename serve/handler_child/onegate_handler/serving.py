"""Batches to answers: what the workers of MMS and TorchServe do around `handle(data, context)`.

Sources: `mms/service.py`, `ts/service.py` and `protocol/otf_message_handler.py` of either. A failure of the handler
hits every request of the batch; its status and message are the servers' own.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from onegate_handler.context import CONTENT_TYPE, Context, RequestProcessor, RequestProcessors
from onegate_handler.errors import PredictionException
from onegate_handler.failures import print_error
from onegate_handler.metrics import MetricsCache, MetricsStore

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
METRICS = {"mms": MetricsStore, "torchserve": MetricsCache}


class Failure(Exception):
    """The batch failed: `status` and `message` are the answer of every request."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


class Service:
    """A loaded handler."""

    def __init__(self, server: str, context: Context, entry: Any) -> None:
        self._server = server
        self._context = context
        self._entry = entry

    def answer(self, rows: list[dict[str, Any]], blobs: list[bytes]) -> tuple[list[dict[str, Any]], list[bytes]]:
        """One answer a row: `content_type`, `headers` and `status`, and the body.

        A row has `id`, `headers` and `parameters`, pairs of a name and a content type (or None); `blobs` holds the
        values of all parameters in order.
        """
        try:
            return self._answer(rows, blobs)
        except Failure as failure:
            return _failed(failure, len(rows))
        except PredictionException as error:  # meant for the client, so the log is spared
            return _failed(Failure(_status(error.error_code), _text(error.message)), len(rows))
        except Exception as error:  # whatever else a handler raises, or leaves in its context
            print_error(error)
            return _failed(self._failure_of(error), len(rows))

    def _answer(self, rows: list[dict[str, Any]], blobs: list[bytes]) -> tuple[list[dict[str, Any]], list[bytes]]:
        encoded = [_encode(result) for result in self._call(self._data(rows, iter(blobs)))]
        early = [[_encode(part)[1] for part in parts] for parts in self._context.early_results]
        answers = [self._described(index, kind) for index, (kind, _) in enumerate(encoded)]
        bodies = [b"".join((*(parts[index] for parts in early), body)) for index, (_, body) in enumerate(encoded)]
        return answers, bodies

    def _data(self, rows: list[dict[str, Any]], values: Any) -> list[dict[str, Any]]:
        context = self._context
        context.request_ids = {index: row["id"] for index, row in enumerate(rows)}
        context.metrics = METRICS[self._server](context.request_ids, context.model_name)
        context.early_results = []
        context.request_processor = RequestProcessors(RequestProcessor(_headers(row)) for row in rows)
        return [{name: _decoded(next(values), kind) for name, kind in row["parameters"]} for row in rows]

    def _call(self, data: list[dict[str, Any]]) -> list[Any]:
        results = self._entry(data, self._context)
        if not isinstance(results, list):
            print("expected a list from the handler, got", type(results).__name__, file=sys.stderr)
            raise Failure(503, "Invalid model predict output")
        if len(results) != len(data):
            print("expected", len(data), "results from the handler, got", len(results), file=sys.stderr)
            raise Failure(503, "number of batch response mismatched")
        return results

    def _failure_of(self, error: Exception) -> Failure:
        if isinstance(error, MemoryError) or (self._server == "torchserve" and "CUDA" in str(error)):
            return Failure(507, "Out of resources")
        return Failure(503, "Prediction failed")

    def _described(self, index: int, kind: str) -> dict[str, Any]:
        headers = {_text(key): _text(value) for key, value in self._context.get_response_headers(index).items()}
        return {
            "content_type": _text(self._context.get_response_content_type(index) or kind),
            "headers": {key: value for key, value in headers.items() if key.lower() != CONTENT_TYPE},
            "status": _status(self._context.get_response_status(index)[0]),
        }


def _text(value: Any) -> str:
    """What a handler gives for text may be anything: an exception, bytes, half of a surrogate pair."""
    text = value.decode(errors="replace") if isinstance(value, (bytes, bytearray)) else str(value)
    return text.encode(errors="replace").decode()


def _status(code: Any) -> int:
    """A status of numpy, or written as text, is one too; 500 for what is none."""
    try:
        return int(code)
    except (TypeError, ValueError, OverflowError):
        return 500


def _headers(row: dict[str, Any]) -> dict[str, Any]:
    """The request's headers, and beside them for each parameter its content type, as MMS has it."""
    kinds = {name: {CONTENT_TYPE: kind} for name, kind in row["parameters"]}
    return dict(kinds, **row["headers"])


def _decoded(value: bytes, kind: str | None) -> Any:
    """JSON parsed and text as a string, as with `decode_input_request=true`; what can't be decoded stays bytes."""
    try:
        if kind is not None and kind.lower().startswith(JSON):
            return json.loads(value.decode())
        if kind is not None and kind.lower().startswith("text/"):
            return value.decode()
    except ValueError:
        pass
    return value


def _encode(result: Any) -> tuple[str, bytes]:
    if isinstance(result, (bytes, bytearray)):
        return BYTES, bytes(result)
    try:
        if isinstance(result, str):
            return TEXT, result.encode()
        return JSON, json.dumps(result, indent=2, default=_listed).encode()
    except (TypeError, ValueError, RecursionError) as error:
        print("a result of the handler can't be written as text or JSON:", error, file=sys.stderr)
        raise Failure(503, "Unsupported model output data type.") from error


def _listed(value: Any) -> Any:
    """Arrays and scalars of numpy and torch, recognised by what they can do so that neither need be there."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"no JSON for a {type(value).__name__}")


def _failed(failure: Failure, count: int) -> tuple[list[dict[str, Any]], list[bytes]]:
    said = {"code": failure.status, "type": "InternalServerException", "message": failure.message}
    body = (json.dumps(said, indent=2) + "\n").encode()
    return [{"content_type": JSON, "headers": {}, "status": failure.status}] * count, [body] * count
