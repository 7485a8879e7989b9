"""Messages read and written by the layout of the one before: they must say what they say when read as a whole."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from model_store.errors import InvalidInput, OnegateError
from serve import tensors
from serve.dialects import open_inference_grpc as dialect
from serve.dialects import open_inference_grpc_layouts as layouts
from serve.dialects.open_inference_grpc_repeated import RequestReader, RequestWriter, ResponseReader, ResponseWriter
from serve.inference import InferenceRequest, InferenceResponse, Tensors
from serve.protocols import open_inference as messages
from serve.shared_memory import Placed


def request(
    *given: np.ndarray, model: str = "m", id: str = "", version: str = "", outputs: tuple[str, ...] = ()
) -> bytes:
    """A `ModelInferRequest` with the inputs `x0`, `x1` and so on, raw."""
    message = messages.ModelInferRequest(model_name=model, model_version=version, id=id)
    for index, tensor in enumerate(given):
        message.inputs.add(name=f"x{index}", datatype=tensors.datatype_of(tensor), shape=tensor.shape)
        message.raw_input_contents.append(tensors.to_raw(tensor))
    for name in outputs:
        message.outputs.add(name=name)
    data: bytes = message.SerializeToString()
    return data


def said(request: InferenceRequest) -> tuple[Any, ...]:
    """All that a request says."""
    assert request.inputs is not None
    inputs = [(name, tensor.dtype, tensor.shape, tensor.tolist()) for name, tensor in request.inputs.items()]
    others = (request.model, request.version, request.label, request.signature, request.id, request.wanted_outputs)
    return (*others, dict(request.parameters), request.priority, request.deadline, request.reply_form, inputs)


def knows(reader: RequestReader, data: bytes) -> bool:
    """Whether `data` need not be read whole."""
    return reader.known.find(data) is not None


def outcome(reader: RequestReader, data: bytes) -> Any:
    """What a reader makes of bytes, as text in which NaN is itself."""
    try:
        return str(said(reader.read(data)))
    except OnegateError as error:
        return type(error), str(error)


ONES = np.ones((2, 3), np.float32)
TWOS = np.full((2, 3), 2, np.float32)
SMALL = np.array([7], np.int8)


def rearranged(values: np.ndarray, first: dict[str, Any]) -> bytes:
    """A request whose contents stand behind the fields `first` and before all others."""
    rest = messages.ModelInferRequest.FromString(request(values, id="a1"))
    contents = messages.ModelInferRequest(raw_input_contents=rest.raw_input_contents)
    for field in ("raw_input_contents", *first):
        rest.ClearField(field)
    parts = (messages.ModelInferRequest(**first), contents, rest)
    return b"".join(part.SerializeToString() for part in parts)


# -- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (request(ONES), request(TWOS)),
        (request(ONES, SMALL, version="3", outputs=("q", "p")), request(TWOS, -SMALL, version="3", outputs=("q", "p"))),
        (request(ONES, version="canary"), request(TWOS, version="canary")),
        (request(ONES, id="a1"), request(TWOS, id="b2")),
        (request(ONES[:0]), request(ONES[:0])),
        (request(np.float64(1.5).reshape(())), request(np.float64(2.5).reshape(()))),
        (request(ONES.astype(np.float16)), request(TWOS.astype(np.float16))),
        (request(ONES.astype(ml_dtypes.bfloat16)), request(TWOS.astype(ml_dtypes.bfloat16))),
        (request(np.ones((2, 30_000))), request(np.zeros((2, 30_000)))),
    ],
    ids=["plain", "several", "label", "ids", "no rows", "one value", "half", "bfloat16", "large"],
)
def test_a_request_like_the_one_before_says_the_same_as_when_read_whole(first: bytes, second: bytes) -> None:
    reader = RequestReader()
    assert said(reader.read(first, 5.0)) == said(RequestReader().read(first, 5.0))
    assert knows(reader, second)
    assert said(reader.read(second, 6.0)) == said(RequestReader().read(second, 6.0))


def test_what_a_request_says_beside_its_tensors_is_kept_from_the_one_before() -> None:
    message = messages.ModelInferRequest.FromString(request(ONES, id="a1", version="3", outputs=("q",)))
    message.parameters["signature"].string_param = "s"
    message.parameters["priority"].int64_param = 2
    message.parameters["seed"].int64_param = 7
    message.outputs[0].parameters["classification"].int64_param = 1
    reader = RequestReader()
    reader.read(message.SerializeToString())
    message.id = "b2"
    read = reader.read(message.SerializeToString(), deadline=5.0)
    assert (read.model, read.version, read.signature, read.id, read.priority) == ("m", "3", "s", "b2", 2)
    assert (read.wanted_outputs, read.parameters, read.deadline) == (("q",), {"seed": 7}, 5.0)
    assert read.reply_form == dialect.ReplyForm(True, {"q": 1})


@pytest.mark.parametrize(
    "known",
    [
        request(ONES),
        request(SMALL, SMALL, id="a1", version="3", outputs=("q",)),
        rearranged(SMALL, {"model_name": "m"}),
    ],
)
def test_no_changed_byte_goes_unnoticed(known: bytes) -> None:
    reader = RequestReader()
    reader.read(known)
    for position in range(len(known)):
        for flipped in (0x01, 0x08, 0x80, 0xFF):
            changed = bytearray(known)
            changed[position] ^= flipped
            data = bytes(changed)
            assert outcome(reader, data) == outcome(RequestReader(), data), (position, flipped)


def test_contents_that_come_before_other_fields_are_found_again() -> None:
    reader = RequestReader()
    reader.read(rearranged(ONES, {"model_name": "m"}))
    second = rearranged(TWOS, {"model_name": "m"})
    assert knows(reader, second)
    assert said(reader.read(second)) == said(RequestReader().read(second))


def test_models_of_names_of_one_length_do_not_drive_each_other_out() -> None:
    reader = RequestReader()
    for name in ("m1", "m2", "m1", "m2"):
        assert reader.read(request(ONES, model=name)).model == name
    assert knows(reader, request(TWOS, model="m1"))
    assert knows(reader, request(TWOS, model="m2"))


def test_a_small_tensor_is_aligned_and_a_large_one_a_view_on_the_message() -> None:
    reader = RequestReader()
    small, large = request(SMALL, ONES.astype(np.float64)), request(np.ones((2, 30_000)))
    for _ in range(2):
        inputs = reader.read(small).inputs
        assert inputs is not None
        assert inputs["x1"].flags.aligned
        inputs = reader.read(large).inputs
        assert inputs is not None
        assert np.shares_memory(inputs["x0"], np.frombuffer(large, np.uint8))


async def test_a_timeout_counts_from_each_request_on() -> None:
    message = messages.ModelInferRequest.FromString(request(ONES))
    message.parameters["timeout"].int64_param = 3_000_000
    reader = RequestReader()
    first = reader.read(message.SerializeToString()).deadline
    await asyncio.sleep(0.01)
    second = reader.read(message.SerializeToString()).deadline
    assert first is not None
    assert second is not None
    assert second > first


def typed() -> bytes:
    message = messages.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1)
    data: bytes = message.SerializeToString()
    return data


@pytest.mark.parametrize(
    "data",
    [
        request(np.array([b"ab"], object)),
        request(ONES, np.array([b"ab"], object)),
        request(np.array([True])),
        request(ONES, outputs=("q" * layouts.LARGEST_BYTES,)),
        request(ONES) + b"\x7b\x7c",
        typed(),
        rearranged(ONES, {}),
        request(ONES, id="a") + messages.ModelInferRequest(id="b").SerializeToString(),
    ],
    ids=["text", "text beside numbers", "booleans", "long", "a group", "typed", "contents first", "two ids"],
)
def test_what_must_be_looked_at_each_time_is_not_kept(data: bytes) -> None:
    reader = RequestReader()
    assert outcome(reader, data) == outcome(RequestReader(), data)
    assert not knows(reader, data)


def test_an_id_that_is_no_text_is_refused_as_ever() -> None:
    reader = RequestReader()
    data = request(ONES, id="a1")
    reader.read(data)
    with pytest.raises(InvalidInput, match=r"^expected a message inference\.ModelInferRequest, got \d+ other bytes$"):
        reader.read(data.replace(b"a1", b"\xff1"))


def test_no_tensor_is_kept() -> None:
    reader = RequestReader()
    inputs = reader.read(request(ONES)).inputs
    assert inputs is not None
    tensor = weakref.ref(inputs["x0"])
    del inputs
    assert tensor() is None


def test_the_oldest_layout_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "MOST", 2)
    reader = RequestReader()
    first, second, third = [request(np.ones(size)) for size in (1, 2, 3)]
    for data in (first, second, first, third):
        reader.read(data)
    assert [knows(reader, data) for data in (first, second, third)] == [False, True, True]


# -- responses -------------------------------------------------------------------------------------------------------


def response(outputs: Tensors, id: str = "", **others: Any) -> InferenceResponse:
    return InferenceResponse("m", "3", id, outputs, **others)


def parsed(data: bytes) -> Any:
    return messages.ModelInferResponse.FromString(data)


@pytest.mark.parametrize(
    "given",
    [
        [response({"y": ONES}), response({"y": TWOS})],
        [response({"y": each}) for each in (ONES, TWOS[:1], TWOS.astype(np.int32), ONES)],
        [response({"y": ONES}), response({"z": TWOS}), response({"y": TWOS})],
        [response({"y": ONES}), response({"y": TWOS}, "a1"), response({"y": TWOS}), response({"y": TWOS}, "grün")],
        [response({"y": ONES, "z": SMALL}), response({"y": TWOS, "z": -SMALL})],
        [response({"y": ONES.T}), response({"y": np.arange(6, dtype=np.float32).reshape(2, 3).T})],
        [response({"y": np.ones((2, 3000))}), response({"y": np.zeros((3000, 2)).T})],
        [response({"t": np.array([b"a"], object)}), response({"t": np.array([b"bcd"], object)})],
        [response({"y": ONES}), response({"y": ONES}, parameters={"steps": 3}), response({"y": ONES})],
        [response({})] * 2,
        [response({"y" * 2000: ONES})] * 2,
        [InferenceResponse("m", "3", "", {"y": ONES}), InferenceResponse("n", "3", "", {"y": ONES})],
        [InferenceResponse("m", "3", "", {"y": ONES}), InferenceResponse("m", "4", "", {"y": ONES})],
    ],
    ids=["again", "other tensors", "other names", "ids", "several", "by columns", "large", "text", "parameters",
         "none", "long", "models", "versions"],
)  # fmt: skip
def test_every_answer_says_the_same_as_when_written_whole(given: list[InferenceResponse]) -> None:
    writer = ResponseWriter()
    for each in given:
        assert parsed(writer.write(each, dialect.RAW)) == parsed(
            dialect.encode_response(each, dialect.RAW).SerializeToString()
        )


def test_answers_in_another_form_are_written_in_it() -> None:
    writer = ResponseWriter()
    for form in (dialect.RAW, dialect.TYPED, dialect.ReplyForm(True, {"y": 1}), dialect.RAW):
        told = parsed(writer.write(response({"y": ONES}, "a1"), form))
        assert told == parsed(dialect.encode_response(response({"y": ONES}, "a1"), form).SerializeToString())


# -- between gateways and replicas -----------------------------------------------------------------------------------


def test_requests_to_replicas_say_the_same_as_when_written_whole() -> None:
    writer = RequestWriter()
    placed = {"x": Placed("onegate-1-2-3-4", 0, 24)}
    for inputs, shared, signature in [
        ({"x": ONES}, {}, None), ({"x": TWOS}, {}, None), ({"x": ONES}, {}, "s"), ({"x": ONES}, placed, None),
        ({"x": TWOS}, {}, "s"), ({}, {}, None), ({"x": ONES}, {}, None),
    ]:  # fmt: skip
        whole = dialect.encode_request("m", 3, inputs, shared, signature).SerializeToString()
        read = messages.ModelInferRequest.FromString
        assert read(writer.write("m", 3, inputs, shared, signature)) == read(whole)


def test_answers_of_replicas_are_read_again_and_again() -> None:
    reader, writer = ResponseReader(), ResponseWriter()
    for outputs in ({"y": ONES}, {"y": TWOS}, {"y": TWOS, "t": np.array([b"ab"], object)}, {"y": SMALL}, {"y": ONES}):
        read = reader.read(writer.write(response(outputs), dialect.RAW))
        assert {name: tensor.tolist() for name, tensor in read.items()} == {
            name: tensor.tolist() for name, tensor in outputs.items()
        }
