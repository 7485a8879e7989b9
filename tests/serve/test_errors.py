"""Every kind of error has a status, survives pickling, and tells callers nothing of the machine."""

from __future__ import annotations

import logging
import pickle

import grpc
import pytest

from model_store.errors import ERROR_KINDS, ConversionError, InternalError, TrustRequired
from serve.dialects.base import NoSuchRoute
from serve.errors import Status, presentable, status_of

STATUSES = {
    "OnegateError": Status(500, "INTERNAL"),
    "InvalidInput": Status(400, "INVALID_ARGUMENT"),
    "PayloadTooLarge": Status(413, "RESOURCE_EXHAUSTED"),
    "ModelNotFound": Status(404, "NOT_FOUND"),
    "ModelNotReady": Status(503, "UNAVAILABLE"),
    "OutOfMemory": Status(503, "RESOURCE_EXHAUSTED"),
    "Overloaded": Status(503, "RESOURCE_EXHAUSTED"),
    "DeadlineExceeded": Status(504, "DEADLINE_EXCEEDED"),
    "Unsupported": Status(501, "UNIMPLEMENTED"),
    "ConfigError": Status(400, "INVALID_ARGUMENT"),
    "SourceError": Status(400, "INVALID_ARGUMENT"),
    "TrustRequired": Status(400, "INVALID_ARGUMENT"),
    "ConversionError": Status(422, "FAILED_PRECONDITION"),
    "StoreError": Status(500, "INTERNAL"),
    "IntegrityError": Status(500, "DATA_LOSS"),
    "Unauthenticated": Status(401, "UNAUTHENTICATED"),
    "RateLimited": Status(429, "RESOURCE_EXHAUSTED"),
    "NotSigned": Status(403, "PERMISSION_DENIED"),
    "Forbidden": Status(403, "PERMISSION_DENIED"),
    "Conflict": Status(409, "ABORTED"),
    "InternalError": Status(500, "INTERNAL"),
}


@pytest.mark.parametrize("name", sorted(ERROR_KINDS))
def test_a_kind_has_its_status(name: str) -> None:
    assert status_of(ERROR_KINDS[name]("text")) == STATUSES[name]


@pytest.mark.parametrize("name", sorted(ERROR_KINDS))
def test_a_kind_survives_pickling_with_its_details(name: str) -> None:
    error = ERROR_KINDS[name]("expected 1, got 2", got=2, names=["a", "b"])
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is ERROR_KINDS[name]
    assert (str(back), back.message, back.details) == ("expected 1, got 2", "expected 1, got 2", error.details)


def test_a_missing_route_survives_pickling_with_its_status() -> None:
    back = pickle.loads(pickle.dumps(NoSuchRoute("Method Not Allowed", status=405)))
    assert (type(back), back.message, back.status) == (NoSuchRoute, "Method Not Allowed", 405)


def test_a_kind_that_the_table_does_not_list_has_its_base_s_status() -> None:
    class NoSuchOperator(ConversionError):
        pass

    assert status_of(NoSuchOperator("text")) == Status(422, "FAILED_PRECONDITION")
    assert status_of(TrustRequired("text")) == Status(400, "INVALID_ARGUMENT")


def test_every_grpc_code_is_one() -> None:
    codes = {code.name for code in grpc.StatusCode}
    assert {status.grpc for status in STATUSES.values()} <= codes


def test_an_error_of_the_hierarchy_is_told_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    error = ConversionError("operator 'Foo' has no ONNX form")
    assert presentable(error) is error
    assert caplog.records == []


def test_an_unknown_exception_is_logged_whole_and_answered_with_an_id(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise FileNotFoundError(2, "No such file or directory", "/var/secret/model.onnx")

    with caplog.at_level(logging.ERROR, "onegate"), pytest.raises(FileNotFoundError) as caught:
        broken()
    with caplog.at_level(logging.ERROR, "onegate"):
        told = presentable(caught.value)
    assert type(told) is InternalError
    error_id = told.details["error_id"]
    assert told.message == f"internal error {error_id}; the server's log has the details"
    assert len(error_id) == 12
    assert "secret" not in told.message
    assert f"internal error {error_id}" in caplog.text
    assert "/var/secret/model.onnx" in caplog.text
    assert "in broken" in caplog.text


def test_two_unknown_exceptions_have_two_ids() -> None:
    assert presentable(ValueError("a")).message != presentable(ValueError("a")).message
