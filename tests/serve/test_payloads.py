"""Raw bodies as rows of tensors: there and back, alone, in a batch, and over a replica's gRPC."""

from __future__ import annotations

import numpy as np
import pytest

from model_store.errors import InternalError, InvalidInput, ModelNotFound, OnegateError, PayloadTooLarge, Unsupported
from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE
from serve.admission import SignatureCheck
from serve.dialects import open_inference_grpc as grpc_dialect
from serve.inference import InferenceResponse, Payload, Tensors
from serve.payloads import (
    answers_to_tensors,
    from_tensors,
    refused,
    requests_of,
    signatures_with_payload,
    to_tensors,
)
from tests.serve.tiny_versions import manifest

PICTURE = Payload(b"\xff\xd8\x00", "image/jpeg", headers={"x-request-id": "a1"})
FORM = Payload(
    b"",
    "multipart/form-data; boundary=b",
    {"data": b"\x00\xff", "größe": "ü".encode()},
    field_types={"größe": "text/plain"},
)


def merged(*batches: Tensors) -> Tensors:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def texts(*elements: bytes) -> np.ndarray:
    column = np.empty(len(elements), object)
    column[:] = elements
    return column


def test_a_body_is_one_row_of_the_payload_signature() -> None:
    row = to_tensors(Payload(b"\x01", "image/png"))
    assert {name: column.tolist() for name, column in row.items()} == {
        "body": [b"\x01"],
        "content_type": [b"image/png"],
        "fields": [b"{}"],
        "headers": [b"{}"],
    }
    assert SignatureCheck("m", PAYLOAD_SIGNATURE).rows(row) == 1


def test_fields_are_base64_and_headers_text_in_json() -> None:
    fields = {"data": b"\x00\xff", "note": b"hi"}
    row = to_tensors(Payload(b"", "", fields, {"accept": "text/plain"}, field_types={"note": "text/plain"}))
    assert row["fields"].tolist() == [b'{"data":"AP8=","note":["aGk=","text/plain"]}']
    assert row["headers"].tolist() == [b'{"accept":"text/plain"}']


def test_rows_of_a_batch_are_the_bodies_again() -> None:
    assert requests_of(merged(to_tensors(PICTURE), to_tensors(FORM))) == [PICTURE, FORM]


@pytest.mark.parametrize("text", [b"[]", b'{"a": 1}', b'{"a": "no base64!"}', b'{"a": ["AP8="]}', b"\xff", b""])
def test_fields_that_are_no_object_of_base64_are_refused(text: bytes) -> None:
    row = to_tensors(PICTURE) | {"fields": texts(text)}
    with pytest.raises(InvalidInput, match=r"^fields: expected a JSON object of text in base64"):
        requests_of(row)


def test_headers_that_are_no_object_of_text_are_refused() -> None:
    row = to_tensors(PICTURE) | {"headers": texts(b'{"a": 1}')}
    with pytest.raises(InvalidInput, match=r"^headers: expected a JSON object of text"):
        requests_of(row)


def test_answers_are_a_batch_whose_rows_come_apart() -> None:
    answers = [
        Payload(b"[]", "application/json"),
        Payload(b"no", "text/plain", headers={"x-model": "m"}, status=422),
    ]
    outputs = answers_to_tensors(answers)
    assert list(outputs) == [spec.name for spec in PAYLOAD_SIGNATURE.outputs]
    assert (outputs["status"].dtype, outputs["status"].tolist()) == (np.int32, [200, 422])
    rows = [from_tensors({name: column[row : row + 1] for name, column in outputs.items()}) for row in range(2)]
    assert rows == answers


@pytest.mark.parametrize("error", [InvalidInput("größer"), PayloadTooLarge("a"), ModelNotFound("b"), Unsupported("c")])
def test_the_error_of_a_row_is_raised_again_from_it(error: OnegateError) -> None:
    outputs = answers_to_tensors([Payload(b"[]", "application/json"), refused(error)])
    good, bad = ({name: column[row : row + 1] for name, column in outputs.items()} for row in range(2))
    assert from_tensors(good).body == b"[]"
    with pytest.raises(type(error)) as caught:
        from_tensors(bad)
    assert type(caught.value) is type(error)
    assert caught.value.message == error.message


def test_an_error_travels_as_text_with_its_kind_and_usual_status() -> None:
    row = refused(InvalidInput("no picture"))
    assert row == Payload(b"no picture", "text/plain", headers={"onegate-error": "InvalidInput"}, status=400)


def test_an_error_of_an_unknown_kind_is_internal() -> None:
    outputs = answers_to_tensors([Payload(b"odd", "text/plain", headers={"onegate-error": "Newer"})])
    with pytest.raises(InternalError, match=r"^odd$"):
        from_tensors(outputs)


def test_bodies_travel_to_a_replica_and_answers_back() -> None:
    batch = merged(to_tensors(PICTURE), to_tensors(FORM))
    sent = grpc_dialect.encode_request("m", 1, batch, signature=PAYLOAD).SerializeToString()
    request = grpc_dialect.decode_request(grpc_dialect.messages.ModelInferRequest.FromString(sent))
    assert request.signature == PAYLOAD
    assert request.inputs is not None
    assert requests_of(request.inputs) == [PICTURE, FORM]
    outputs = answers_to_tensors([Payload(b"\x00\xff", "image/png", status=201)])
    assert isinstance(request.reply_form, grpc_dialect.ReplyForm)
    message = grpc_dialect.encode_response(InferenceResponse("m", "1", outputs=outputs), request.reply_form)
    received = grpc_dialect.messages.ModelInferResponse.FromString(message.SerializeToString())
    assert from_tensors(grpc_dialect.decode_response(received)) == Payload(b"\x00\xff", "image/png", status=201)


def test_every_version_can_be_called_with_bodies() -> None:
    assert list(signatures_with_payload(manifest())) == ["serving_default", PAYLOAD]
