"""What each dialect answers when something is as it should be or isn't: one row a behaviour, one line a dialect.

The statuses, codes and bodies are those of each protocol; the texts are onegate's own where the protocol has none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tests.serve.behaviours.attempts import Attempt


@dataclass(frozen=True)
class Told:
    """A reply: HTTP status or name of the gRPC code, the JSON body or the text beside the code. `again` is what
    `retry-after` says, in the headers or in the trailers; without it there is none."""

    status: int | str
    body: Any
    again: str | None = None

    def later(self, seconds: str) -> Told:
        """The same, with the word when to come again."""
        return replace(self, again=seconds)


@dataclass(frozen=True)
class Never:
    """It can't come to that in this dialect, and why."""

    reason: str


class Behaviour(NamedTuple):
    """What is attempted, and what each dialect's client is told."""

    attempt: Attempt
    told: dict[str, Told | Never]


def error(status: int, text: str) -> Told:
    """As Open Inference and TensorFlow Serving have it over HTTP."""
    return Told(status, {"error": text})


def named(status: int, type: str, message: str) -> Told:
    """As MXNet Model Server, TorchServe and SageMaker's containers have it: the exception's name beside the status."""
    return Told(status, {"code": status, "type": type, "message": message})


def plain(status: int, kind: str, text: str) -> Told:
    """As `/predict` has it."""
    return Told(status, {"error": text, "kind": kind})


Y = {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [3.0, -4.0]}

VERSIONLESS = Never("the protocol has one version of a model, and no place for another in the call")
MANAGED_ELSEWHERE = Never("the protocol has no call that changes models")
ALWAYS_POST = Never("a gRPC call has no method of HTTP to choose")
SAME_CALLS = Never("these calls carry no tensors: they are those of v2 JSON")

INPUTS = "model 'double' takes the inputs 'x': FP32[*,2]; got 'z'"
THE_INPUTS = "the model takes the inputs 'x': FP32[*,2]; got 'z'"
WRONG_SHAPE = "input 'x': expected FP32[*,2], got FP32[1,3]"
WRONG_TYPE = "input 'x': expected FP32[*,2], got BYTES[1,2]"
WRONG_VALUE = "input 'x': no FP32 values: Expected `float`, got `str` - at `$[0][0]`"
NO_JSON = "the body is no JSON object of inputs: Input data was truncated"
TOO_LARGE = "the body may have 2000 bytes, got 2001 bytes"
TOO_LARGE_GRPC = "SERVER: Received message larger than max (2001 vs. 2000)"
FULL = "1 rows wait already and at most 1 may; try again later"
LATE = "the deadline passed before the model could answer; allow more time or send less at once"
DAMAGED = "model 'damaged' can't be called now: its source is damaged"
CRASHED = "internal error <id>; the server's log has the details"
NOT_HERE = "calls that manage models answer on the management port"
NO_METHOD = "Requested method is not allowed, please refer to API document."
NO_RESOURCE = "Requested resource is not found, please refer to API document."


def no_worker(model: str, reason: str) -> Told:
    """TorchServe's words for a model that can't take a request now."""
    text = f'Model "{model}" has no worker to serve inference request. Please use scale workers API to add workers.'
    return named(503, "ServiceUnavailableException", f"{text} ({reason})")


def no_mms_worker(model: str, reason: str) -> Told:
    """The words of MXNet Model Server for the same."""
    text = f"No worker is available to serve request for model: {model}. Consider increasing job queue size."
    return named(503, "ServiceUnavailableException", f"{text} ({reason})")


TABLE: dict[str, Behaviour] = {
    "answer": Behaviour(
        Attempt(),
        {
            "v2 JSON": Told(200, {"model_name": "double", "model_version": "3", "outputs": [Y]}),
            "v2 binary": Told(
                200,
                {
                    "model_name": "double",
                    "model_version": "3",
                    "outputs": [{**Y, "parameters": {"binary_data_size": 8}}],
                },
            ),
            "v2 gRPC": Told("OK", {"model_name": "double", "model_version": "3", "outputs": [Y]}),
            "TF Serving REST": Told(200, {"predictions": [[3.0, -4.0]]}),
            "TF Serving gRPC": Told("OK", {"outputs": {"y": [3.0, -4.0]}, "version": 3}),
            "TorchServe": Told(200, [[3.0, -4.0]]),
            "TorchServe gRPC": Told("OK", [[3.0, -4.0]]),
            "MMS": Told(200, [[3.0, -4.0]]),
            "SageMaker": Told(200, [[3.0, -4.0]]),
            "SageMaker, many": Told(200, [[3.0, -4.0]]),
            "plain": Told(200, {"model": "double", "version": "3", "outputs": {"y": [[3.0, -4.0]]}}),
        },
    ),
    "unknown model": Behaviour(
        Attempt(model="nobody"),
        {
            "v2 JSON": error(404, "model 'nobody' is not served here"),
            "v2 binary": error(404, "model 'nobody' is not served here"),
            "v2 gRPC": Told("NOT_FOUND", "model 'nobody' is not served here"),
            "TF Serving REST": error(404, "Servable not found for request: Latest(nobody)"),
            "TF Serving gRPC": Told("NOT_FOUND", "Servable not found for request: Latest(nobody)"),
            "TorchServe": named(404, "ModelNotFoundException", "Model not found: nobody"),
            "TorchServe gRPC": Told("NOT_FOUND", "Model not found: nobody"),
            "MMS": named(404, "ModelNotFoundException", "Model not found: nobody"),
            "SageMaker": named(404, "ModelNotFoundException", "Model not found: nobody"),
            "SageMaker, many": named(404, "ModelNotFoundException", "Model not found: nobody"),
            "plain": plain(404, "ModelNotFound", "model 'nobody' is not served here"),
        },
    ),
    "unknown version": Behaviour(
        Attempt(version="9"),
        {
            "v2 JSON": error(404, "model 'double' has no version 9 here; callable: 3"),
            "v2 binary": error(404, "model 'double' has no version 9 here; callable: 3"),
            "v2 gRPC": Told("NOT_FOUND", "model 'double' has no version 9 here; callable: 3"),
            "TF Serving REST": error(404, "Servable not found for request: Specific(double, 9)"),
            "TF Serving gRPC": Told("NOT_FOUND", "Servable not found for request: Specific(double, 9)"),
            "TorchServe": named(
                404,
                "ModelVersionNotFoundException",
                "Model version: 9 does not exist for model: double; model 'double' has no version 9 here; callable: 3",
            ),
            "TorchServe gRPC": Told(
                "NOT_FOUND",
                "Model version: 9 does not exist for model: double; model 'double' has no version 9 here; callable: 3",
            ),
            "MMS": VERSIONLESS,
            "SageMaker": VERSIONLESS,
            "SageMaker, many": VERSIONLESS,
            "plain": plain(404, "ModelNotFound", "model 'double' has no version 9 here; callable: 3"),
        },
    ),
    "wrong input name": Behaviour(
        Attempt(name="z"),
        {
            "v2 JSON": error(400, INPUTS),
            "v2 binary": error(400, INPUTS),
            "v2 gRPC": Told("INVALID_ARGUMENT", INPUTS),
            "TF Serving REST": error(400, "instance 0: expected an object of 'x': FP32[*,2]; got an object of 'z'"),
            "TF Serving gRPC": Told("INVALID_ARGUMENT", INPUTS),
            "TorchServe": named(400, "BadRequestException", THE_INPUTS),
            "TorchServe gRPC": Told("INVALID_ARGUMENT", THE_INPUTS),
            "MMS": named(400, "BadRequestException", THE_INPUTS),
            "SageMaker": named(400, "BadRequestException", THE_INPUTS),
            "SageMaker, many": named(400, "BadRequestException", THE_INPUTS),
            "plain": plain(400, "InvalidInput", THE_INPUTS),
        },
    ),
    "wrong shape": Behaviour(
        Attempt(values=((1.0, 2.0, 3.0),)),
        {
            "v2 JSON": error(400, WRONG_SHAPE),
            "v2 binary": error(400, WRONG_SHAPE),
            "v2 gRPC": Told("INVALID_ARGUMENT", WRONG_SHAPE),
            "TF Serving REST": error(400, WRONG_SHAPE),
            "TF Serving gRPC": Told("INVALID_ARGUMENT", WRONG_SHAPE),
            "TorchServe": named(400, "BadRequestException", WRONG_SHAPE),
            "TorchServe gRPC": Told("INVALID_ARGUMENT", WRONG_SHAPE),
            "MMS": named(400, "BadRequestException", WRONG_SHAPE),
            "SageMaker": named(400, "BadRequestException", WRONG_SHAPE),
            "SageMaker, many": named(400, "BadRequestException", WRONG_SHAPE),
            "plain": plain(400, "InvalidInput", WRONG_SHAPE),
        },
    ),
    "wrong datatype": Behaviour(
        Attempt(values=(("a", "b"),), datatype="BYTES"),
        {
            "v2 JSON": error(400, WRONG_TYPE),
            "v2 binary": error(400, WRONG_TYPE),
            "v2 gRPC": Told("INVALID_ARGUMENT", WRONG_TYPE),
            "TF Serving REST": error(400, "input 'x': expected FP32 values, got 'a'"),
            "TF Serving gRPC": Told("INVALID_ARGUMENT", WRONG_TYPE),
            "TorchServe": named(400, "BadRequestException", WRONG_VALUE),
            "TorchServe gRPC": Told("INVALID_ARGUMENT", WRONG_VALUE),
            "MMS": named(400, "BadRequestException", WRONG_VALUE),
            "SageMaker": named(400, "BadRequestException", WRONG_VALUE),
            "SageMaker, many": named(400, "BadRequestException", WRONG_VALUE),
            "plain": plain(400, "InvalidInput", WRONG_VALUE),
        },
    ),
    "unreadable body": Behaviour(
        Attempt(body=b'{"x": [[1', message=b"\xff"),
        {
            "v2 JSON": error(400, "the body is not a v2 inference request: Input data was truncated"),
            "v2 binary": error(400, "the body is not a v2 inference request: Input data was truncated"),
            "v2 gRPC": Told("INVALID_ARGUMENT", "expected a message inference.ModelInferRequest, got 1 other bytes"),
            "TF Serving REST": error(400, "the body is not the JSON of a request: Input data was truncated"),
            "TF Serving gRPC": Told(
                "INVALID_ARGUMENT", "expected a message tensorflow.serving.PredictRequest, got 1 other bytes"
            ),
            "TorchServe": named(400, "BadRequestException", NO_JSON),
            "TorchServe gRPC": Told(
                "INVALID_ARGUMENT",
                "expected a message org.pytorch.serve.grpc.inference.PredictionsRequest, got 1 other bytes",
            ),
            "MMS": named(400, "BadRequestException", NO_JSON),
            "SageMaker": named(400, "BadRequestException", NO_JSON),
            "SageMaker, many": named(400, "BadRequestException", NO_JSON),
            "plain": plain(400, "InvalidInput", NO_JSON),
        },
    ),
    "too large": Behaviour(
        Attempt(body=b" " * 2001, message=b" " * 2001),
        {
            "v2 JSON": error(413, TOO_LARGE),
            "v2 binary": error(413, TOO_LARGE),
            "v2 gRPC": Told("RESOURCE_EXHAUSTED", TOO_LARGE_GRPC),
            "TF Serving REST": error(413, TOO_LARGE),
            "TF Serving gRPC": Told("RESOURCE_EXHAUSTED", TOO_LARGE_GRPC),
            "TorchServe": named(413, "BadRequestException", TOO_LARGE),
            "TorchServe gRPC": Told("RESOURCE_EXHAUSTED", TOO_LARGE_GRPC),
            "MMS": named(413, "BadRequestException", TOO_LARGE),
            "SageMaker": named(413, "BadRequestException", TOO_LARGE),
            "SageMaker, many": named(413, "BadRequestException", TOO_LARGE),
            "plain": plain(413, "PayloadTooLarge", TOO_LARGE),
        },
    ),
    "overloaded": Behaviour(
        Attempt(model="busy"),
        {
            "v2 JSON": error(503, FULL).later("1"),
            "v2 binary": error(503, FULL).later("1"),
            "v2 gRPC": Told("RESOURCE_EXHAUSTED", FULL).later("1"),
            "TF Serving REST": error(429, FULL).later("1"),
            "TF Serving gRPC": Told("RESOURCE_EXHAUSTED", FULL).later("1"),
            "TorchServe": no_worker("busy", FULL).later("1"),
            "TorchServe gRPC": Told("RESOURCE_EXHAUSTED", no_worker("busy", FULL).body["message"]).later("1"),
            "MMS": no_mms_worker("busy", FULL).later("1"),
            "SageMaker": no_mms_worker("busy", FULL).later("1"),
            "SageMaker, many": no_mms_worker("busy", FULL).later("1"),
            "plain": plain(503, "Overloaded", FULL).later("1"),
        },
    ),
    "deadline passed": Behaviour(
        Attempt(model="slow"),
        {
            "v2 JSON": error(504, LATE),
            "v2 binary": error(504, LATE),
            "v2 gRPC": Told("DEADLINE_EXCEEDED", LATE),
            "TF Serving REST": error(504, LATE),
            "TF Serving gRPC": Told("DEADLINE_EXCEEDED", LATE),
            "TorchServe": named(408, "RequestTimeoutException", LATE),
            "TorchServe gRPC": Told("DEADLINE_EXCEEDED", LATE),
            "MMS": named(408, "RequestTimeoutException", LATE),
            "SageMaker": named(408, "RequestTimeoutException", LATE),
            "SageMaker, many": named(408, "RequestTimeoutException", LATE),
            "plain": plain(504, "DeadlineExceeded", LATE),
        },
    ),
    "not ready": Behaviour(
        Attempt(model="damaged"),
        {
            "v2 JSON": error(503, DAMAGED),
            "v2 binary": error(503, DAMAGED),
            "v2 gRPC": Told("UNAVAILABLE", DAMAGED),
            "TF Serving REST": error(503, DAMAGED),
            "TF Serving gRPC": Told("UNAVAILABLE", DAMAGED),
            "TorchServe": no_worker("damaged", DAMAGED),
            "TorchServe gRPC": Told("UNAVAILABLE", no_worker("damaged", DAMAGED).body["message"]),
            "MMS": no_mms_worker("damaged", DAMAGED),
            "SageMaker": no_mms_worker("damaged", DAMAGED),
            "SageMaker, many": no_mms_worker("damaged", DAMAGED),
            "plain": plain(503, "ModelNotReady", DAMAGED),
        },
    ),
    "internal error": Behaviour(
        Attempt(model="crashing"),
        {
            "v2 JSON": error(500, CRASHED),
            "v2 binary": error(500, CRASHED),
            "v2 gRPC": Told("INTERNAL", CRASHED),
            "TF Serving REST": error(500, CRASHED),
            "TF Serving gRPC": Told("INTERNAL", CRASHED),
            "TorchServe": named(500, "InternalServerException", CRASHED),
            "TorchServe gRPC": Told("INTERNAL", CRASHED),
            "MMS": named(500, "InternalServerException", CRASHED),
            "SageMaker": named(500, "InternalServerException", CRASHED),
            "SageMaker, many": named(500, "InternalServerException", CRASHED),
            "plain": plain(500, "InternalError", CRASHED),
        },
    ),
    "unauthorised": Behaviour(
        Attempt(kind="manage"),
        {
            "v2 JSON": error(403, NOT_HERE),
            "v2 binary": SAME_CALLS,
            "v2 gRPC": Told("PERMISSION_DENIED", NOT_HERE),
            "TF Serving REST": MANAGED_ELSEWHERE,
            "TF Serving gRPC": Told("PERMISSION_DENIED", NOT_HERE),
            "TorchServe": named(403, "Forbidden", NOT_HERE),
            "TorchServe gRPC": Told("PERMISSION_DENIED", NOT_HERE),
            "MMS": named(403, "Forbidden", NOT_HERE),
            "SageMaker": MANAGED_ELSEWHERE,
            "SageMaker, many": named(403, "Forbidden", NOT_HERE),
            "plain": MANAGED_ELSEWHERE,
        },
    ),
    "wrong method": Behaviour(
        Attempt(kind="wrong method"),
        {
            "v2 JSON": error(405, "Method Not Allowed"),
            "v2 binary": error(405, "Method Not Allowed"),
            "v2 gRPC": ALWAYS_POST,
            "TF Serving REST": error(400, "Malformed request: DELETE /v1/models/double:predict"),
            "TF Serving gRPC": ALWAYS_POST,
            "TorchServe": named(405, "MethodNotAllowedException", NO_METHOD),
            "TorchServe gRPC": ALWAYS_POST,
            "MMS": named(405, "MethodNotAllowedException", NO_METHOD),
            "SageMaker": named(405, "MethodNotAllowedException", NO_METHOD),
            "SageMaker, many": named(405, "MethodNotAllowedException", NO_METHOD),
            "plain": plain(405, "NoSuchRoute", "Method Not Allowed"),
        },
    ),
    "no such path": Behaviour(
        Attempt(kind="no such path"),
        {
            "v2 JSON": error(404, "Not Found"),
            "v2 binary": error(404, "Not Found"),
            "v2 gRPC": Told("UNIMPLEMENTED", "Method not found!"),
            "TF Serving REST": error(400, "Malformed request: POST /v1/models/double:explain"),
            "TF Serving gRPC": Told("UNIMPLEMENTED", "Method not found!"),
            "TorchServe": named(404, "ResourceNotFoundException", NO_RESOURCE),
            "TorchServe gRPC": Told("UNIMPLEMENTED", "Method not found!"),
            "MMS": named(404, "ResourceNotFoundException", NO_RESOURCE),
            "SageMaker": named(404, "ResourceNotFoundException", NO_RESOURCE),
            "SageMaker, many": named(404, "ResourceNotFoundException", NO_RESOURCE),
            "plain": plain(404, "NoSuchRoute", "Not Found"),
        },
    ),
}
