"""Answers of models as TensorFlow Serving words them: predictions as JSON, classes with scores, regressions."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from model_store.datatypes import is_floating
from model_store.errors import InvalidInput
from serve.dialects.tensorflow_json import B64, NOT_IN_JSON
from serve.inference import InferenceResponse, output_tensors
from serve.protocols.tensorflow_serving import ClassificationResult, RegressionResult
from serve.tensors import datatype_of


def predictions(response: InferenceResponse) -> list[Any]:
    """The outputs row by row: values where there is one output, else objects by output's name.

    Raises `InvalidInput` for outputs that differ in their first dimension or have none, and as `columns` does.
    """
    outputs = output_tensors(response)
    sizes = {tensor.shape[:1] for tensor in outputs.values()}
    if len(sizes) != 1 or () in sizes:
        shapes = ", ".join(f"{name!r} {list(tensor.shape)}" for name, tensor in outputs.items())
        raise InvalidInput(
            f"expected outputs of the same first dimension to answer 'instances', got {shapes}; call with 'inputs'"
        )
    listed = [_values(name, tensor) for name, tensor in outputs.items()]
    if len(listed) == 1:
        rows: list[Any] = listed[0]
        return rows
    return [dict(zip(outputs, row, strict=True)) for row in zip(*listed, strict=True)]


def columns(response: InferenceResponse) -> Any:
    """The whole outputs: the values of the only one, else an object by name.

    Raises `InvalidInput` for datatypes without a JSON and for texts that are not UTF-8, unless the output's name ends
    in `_bytes`: that is base64.
    """
    values = {name: _values(name, tensor) for name, tensor in output_tensors(response).items()}
    return values if len(values) != 1 else next(iter(values.values()))


def classifications(response: InferenceResponse) -> Any:
    """The `ClassificationResult`: of each row the label and score of every class, in the model's order.

    Scores are the first floating output, float[N, C] or float[N]. Labels are an output of texts of the same shape, else
    the names of the model's classes, else empty. Raises `InvalidInput` where there are no such scores.
    """
    scores = _floating(response, "classes")
    if scores.ndim == 1:
        scores = scores[:, None]
    if scores.ndim != 2:
        raise InvalidInput(f"expected scores of the shape [rows, classes], the model answers {list(scores.shape)}")
    labels = _labels(response, scores.shape)
    result = ClassificationResult()
    for row, values in enumerate(scores.tolist()):
        classes = result.classifications.add().classes
        for label, score in zip(labels[row], values, strict=True):
            classes.add(label=label, score=score)
    return result


def regressions(response: InferenceResponse) -> Any:
    """The `RegressionResult`: of each row the value of the first floating output, float[N] or float[N, 1].

    Raises `InvalidInput` for another shape.
    """
    values = _floating(response, "a regression")
    if values.ndim not in (1, 2) or values.shape[1:] not in ((), (1,)):
        raise InvalidInput(f"expected one value a row to regress, the model answers {list(values.shape)}")
    result = RegressionResult()
    for value in values.ravel().tolist():
        result.regressions.add(value=value)
    return result


def _values(name: str, tensor: np.ndarray) -> Any:
    """Nested Python values."""
    if tensor.dtype != np.object_:
        if datatype_of(tensor) in NOT_IN_JSON:
            raise InvalidInput(f"output {name!r} is {datatype_of(tensor)}, which JSON can't carry; call over gRPC")
        return tensor.tolist()
    texts = np.empty(tensor.size, dtype=object)
    for index, element in enumerate(tensor.ravel().tolist()):
        texts[index] = _text(name, element)
    return texts.reshape(tensor.shape).tolist()


def _text(name: str, element: bytes) -> Any:
    if name.endswith("_bytes"):
        return {B64: base64.b64encode(element).decode()}
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"output {name!r} holds bytes that are not UTF-8; call the model over gRPC") from error


def _floating(response: InferenceResponse, what: str) -> np.ndarray:
    for tensor in output_tensors(response).values():
        if is_floating(tensor.dtype):
            # The messages hold float32; what is larger becomes infinite there.
            with np.errstate(over="ignore"):
                return tensor.astype(np.float32)
    raise InvalidInput(f"model {response.model!r} has no output of floating numbers to make {what} of; call predict")


def _labels(response: InferenceResponse, shape: tuple[int, ...]) -> list[list[str]]:
    rows, classes = shape
    for tensor in output_tensors(response).values():
        if tensor.dtype == np.object_ and tensor.shape in (shape, shape[:1] if classes == 1 else shape):
            return [[label.decode(errors="replace") for label in row] for row in tensor.reshape(shape).tolist()]
    names = response.labels or ()
    return [list(names) if len(names) == classes else [""] * classes] * rows
