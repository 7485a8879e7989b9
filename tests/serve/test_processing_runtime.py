"""Bodies through a processor and a real ONNX model: batches of them, bad ones among good ones, tensors beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from model_store.errors import InvalidInput, Unsupported
from model_store.manifest import PAYLOAD, ImageProcessor, Profile, TensorSpec
from serve.executors.inline import build_inline_executor
from serve.inference import Payload, Tensors
from serve.payloads import from_tensors, to_tensors
from serve.runtimes.base import Runtime, load_runtime
from serve.runtimes.processing import ProcessingRuntime
from tests.serve.pictures import BLUE, GREEN, LABELS, RED, described, mean_colour, photograph
from tests.serve.tiny_versions import FunctionRuntime, manifest


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
def classifier(request: pytest.FixtureRequest, tmp_path: Path) -> Runtime:
    mean_colour(tmp_path)
    return load_runtime(tmp_path, described(ImageProcessor(scale=1 / 255), labels=LABELS), threads=request.param)


def rows_of(runtime: Runtime, *payloads: Payload) -> list[Tensors]:
    """The answers of one batch, as rows of tensors."""
    rows = [to_tensors(payload) for payload in payloads]
    outputs = runtime.run({name: np.concatenate([row[name] for row in rows]) for name in rows[0]}, PAYLOAD)
    return [{name: column[i : i + 1] for name, column in outputs.items()} for i in range(len(rows))]


def answers(runtime: Runtime, *payloads: Payload) -> list[Payload]:
    return list(map(from_tensors, rows_of(runtime, *payloads)))


def best(answer: Payload) -> str:
    label: str = json.loads(answer.body)[0]["class"]
    return label


def test_pictures_are_classified_as_a_batch(classifier: Runtime) -> None:
    found = answers(classifier, photograph(BLUE), photograph(RED), photograph(GREEN))
    assert [best(answer) for answer in found] == ["blue", "red", "green"]
    first = json.loads(found[0].body)
    assert [entry["class"] for entry in first] == ["blue", "red", "green"]
    assert first[0]["probability"] == pytest.approx(1, abs=0.01)


def test_a_bad_picture_is_refused_alone(classifier: Runtime) -> None:
    good, bad, empty, other = rows_of(
        classifier,
        photograph(RED),
        Payload(photograph(RED).body[:40], "image/jpeg"),
        Payload(b"", ""),
        photograph(BLUE),
    )
    assert (best(from_tensors(good)), best(from_tensors(other))) == ("red", "blue")
    with pytest.raises(InvalidInput, match=r"^expected a picture \(JPEG, PNG, WEBP, BMP, GIF\), got 40 bytes"):
        from_tensors(bad)
    with pytest.raises(InvalidInput, match=r"^expected a picture .*, got 0 bytes"):
        from_tensors(empty)


def test_an_explanation_is_refused_alone(classifier: Runtime) -> None:
    asked = photograph(RED)
    asked.headers = {"explain": "True"}
    explained, predicted = rows_of(classifier, asked, photograph(BLUE))
    with pytest.raises(Unsupported, match=r"runs without a handler, and has no explanations$"):
        from_tensors(explained)
    assert best(from_tensors(predicted)) == "blue"


def test_tensors_pass_by_the_processor(classifier: Runtime) -> None:
    pixels = np.zeros((1, 3, 2, 2), np.float32)
    pixels[0, 1] = 0.5
    assert classifier.run({"data": pixels})["prob"].tolist() == [[0, 0.5, 0]]
    assert classifier.run({"data": pixels}, "serving_default")["prob"].tolist() == [[0, 0.5, 0]]


# -- which rows run together ------------------------------------------------------------------------------------------


def numbers(values: Any) -> Payload:
    return Payload(json.dumps(values).encode(), "application/json")


def processing(**changes: Any) -> tuple[ProcessingRuntime, FunctionRuntime]:
    inner = FunctionRuntime(changes.pop("function", lambda inputs: {"y": inputs["x"] * 2}))
    version = msgspec.structs.replace(manifest(inputs=changes.pop("inputs", (TensorSpec("x", "FP32", (-1, -1)),))))
    return ProcessingRuntime(inner, msgspec.structs.replace(version, **changes), threads=1), inner


def bodies(runtime: Runtime, *values: Any) -> list[Any]:
    return [json.loads(answer.body) for answer in answers(runtime, *map(numbers, values))]


def test_rows_of_equal_shape_run_together() -> None:
    runtime, inner = processing()
    assert bodies(runtime, [1, 2], [1, 2, 3], [[3, 4], [5, 6]]) == [[2, 4], [2, 4, 6], [[6, 8], [10, 12]]]
    assert sorted(inner.batches) == [1, 3]


def test_rows_that_are_not_independent_run_alone() -> None:
    runtime, inner = processing(row_independent=False)
    assert bodies(runtime, [1], [2]) == [[2], [4]]
    assert inner.batches == [1, 1]


def test_no_run_is_larger_than_the_largest_batch() -> None:
    runtime, inner = processing(profile=Profile(0.1, 2, 0.1))
    many = [[value] for value in range(5)]
    assert bodies(runtime, [1], many, [7], [8]) == [[2], [[0], [2], [4], [6], [8]], [14], [16]]
    assert inner.batches == [1, 2, 2, 1, 2]


def test_a_model_without_a_batch_dimension_answers_each_body() -> None:
    runtime, _ = processing(inputs=(TensorSpec("x", "FP32", (2,)),))
    assert bodies(runtime, [1, 2], [3, 4]) == [[2, 4], [6, 8]]


def test_what_the_model_refuses_is_raised() -> None:
    def refuse(inputs: Tensors) -> Tensors:
        raise InvalidInput("the model refuses these values: too large")

    with pytest.raises(InvalidInput, match="too large"):
        bodies(processing(function=refuse)[0], [1], [2])


def test_an_answer_that_can_t_be_written_is_refused_alone() -> None:
    def echo(inputs: Tensors) -> Tensors:
        texts = np.empty(len(inputs["x"]), object)
        texts[:] = [b"\xff" if row[0] else b"fine" for row in inputs["x"]]
        return {"y": texts}

    fine, refused = rows_of(processing(function=echo)[0], numbers([0]), numbers([1]))
    assert (from_tensors(fine).body, from_tensors(fine).status) == (b'"fine"', 200)
    with pytest.raises(InvalidInput):
        from_tensors(refused)


# -- where it runs ----------------------------------------------------------------------------------------------------


async def test_bodies_never_run_on_the_loop(classifier: Runtime) -> None:
    version = described(ImageProcessor(), labels=LABELS)
    executor = build_inline_executor(classifier, version, max_batch_size=4)
    outcome = executor.run(to_tensors(photograph(RED)), float("inf"), PAYLOAD)
    assert not isinstance(outcome, dict)
    assert best(from_tensors(await outcome)) == "red"
    assert isinstance(executor.run({"data": np.zeros((1, 3, 2, 2), np.float32)}, 0.0), dict)
    await executor.close()
