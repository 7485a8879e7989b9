"""Pairs of answers: what agrees, how far off the rest is, and that gateways' figures add up."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from serve.inference import Payload
from serve.payloads import answers_to_tensors
from serve.rollouts.comparison import Comparison, OutputDifference, equal_bodies
from serve.rollouts.histogram import Histogram

SCORES = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)


def compared(reference: dict[str, Any], outputs: dict[str, Any]) -> Comparison:
    comparison = Comparison(0)
    comparison.add(
        {name: np.asarray(value) for name, value in reference.items()},
        {name: np.asarray(value) for name, value in outputs.items()},
    )
    return comparison


def test_equal_answers_agree() -> None:
    comparison = compared({"y": SCORES}, {"y": SCORES.copy()})
    assert (comparison.compared, comparison.agreeing) == (1, 1)
    assert comparison.outputs == {"y": OutputDifference(rows=3, agreeing_rows=3, errors=Histogram({0: 1}))}


def test_scores_of_the_same_classes_agree_and_their_error_is_kept() -> None:
    comparison = compared({"y": SCORES}, {"y": SCORES + np.float32([0.09, 0])})
    output = comparison.outputs["y"]
    assert (comparison.agreeing, output.rows, output.agreeing_rows) == (1, 3, 3)
    assert output.max_error == pytest.approx(0.1, rel=1e-5)
    assert (output.errors.quantile(0.5) or 0) * 1e-9 == pytest.approx(0.1, rel=0.04)


def test_another_class_in_one_row_is_another_answer() -> None:
    comparison = compared({"y": SCORES}, {"y": SCORES[[0, 0, 2]]})
    assert (comparison.compared, comparison.agreeing) == (1, 0)
    assert (comparison.outputs["y"].rows, comparison.outputs["y"].agreeing_rows) == (3, 2)


@pytest.mark.parametrize(
    ("reference", "got", "rows", "agreeing"),
    [
        ([1, 2, 3], [1, 2, 3], 3, 3),
        ([1, 2, 3], [1, 5, 3], 3, 2),
        ([[1, 2], [3, 4]], [[1, 2], [3, 5]], 2, 1),
        ([b"cat", b"dog"], [b"cat", b"cow"], 2, 1),
        (7, 8, 1, 0),
    ],
)
def test_integers_and_text_agree_where_they_are_equal(reference: Any, got: Any, rows: int, agreeing: int) -> None:
    kind = object if isinstance(reference, list) and isinstance(reference[0], bytes) else np.int64
    comparison = compared({"y": np.array(reference, kind)}, {"y": np.array(got, kind)})
    output = comparison.outputs["y"]
    assert (output.rows, output.agreeing_rows, output.errors.count) == (rows, agreeing, 0)
    assert comparison.agreeing == int(rows == agreeing)


@pytest.mark.parametrize(("factor", "agrees"), [(1.0, 1), (1.05, 1), (1.2, 0), (-1.0, 0)])
def test_numbers_without_classes_agree_within_a_tenth_of_their_scale(factor: float, agrees: int) -> None:
    values = np.array([[1.0], [-4.0]])
    comparison = compared({"y": values}, {"y": values * factor})
    assert comparison.agreeing == agrees
    assert comparison.outputs["y"].rows == 0
    assert comparison.outputs["y"].max_error == pytest.approx(abs(factor - 1))


def test_an_error_where_there_should_be_zero_is_the_largest() -> None:
    comparison = compared({"y": np.zeros((1, 1))}, {"y": np.ones((1, 1))})
    assert comparison.outputs["y"].max_error == 1e6
    assert comparison.agreeing == 0


@pytest.mark.parametrize(
    ("reference", "outputs", "mismatches"),
    [
        ({"y": SCORES}, {"y": SCORES[:2]}, {"y": {"shape": 1}}),
        ({"y": SCORES}, {"y": SCORES.astype(np.float64)}, {"y": {"datatype": 1}}),
        ({"y": SCORES, "z": SCORES}, {"y": SCORES}, {"y": {}, "z": {"missing": 1}}),
        ({"y": SCORES}, {"y": SCORES, "z": SCORES}, {"y": {}, "z": {"missing": 1}}),
        ({"y": SCORES}, {"y": SCORES * np.float32("nan")}, {"y": {"special": 1}}),
    ],
)
def test_what_can_not_be_compared_is_counted_by_its_kind(
    reference: dict[str, Any], outputs: dict[str, Any], mismatches: dict[str, dict[str, int]]
) -> None:
    comparison = compared(reference, outputs)
    assert (comparison.compared, comparison.agreeing) == (1, 0)
    assert {name: output.mismatches for name, output in comparison.outputs.items()} == mismatches


def test_nan_in_the_same_places_agrees() -> None:
    scores = np.array([[np.nan, 1.0]])
    assert compared({"y": scores}, {"y": scores.copy()}).agreeing == 1


@pytest.mark.parametrize(
    ("reference", "body", "equal"),
    [
        (b"", b"", True),
        (b"cat", b"cat", True),
        (b"cat", b"dog", False),
        (b'{"a": 1, "b": [2]}', b'{"b":[2.0],"a":1}', True),
        (b'{"a": 1}', b'{"a": 2}', False),
        (b"[" * 100_000, b"[" * 100_001, False),
        (b"\xff", b"1", False),
    ],
)
def test_bodies_are_equal_in_bytes_or_in_json(reference: bytes, body: bytes, equal: bool) -> None:
    assert equal_bodies(reference, body) is equal


@pytest.mark.parametrize(("status", "agrees"), [(200, 1), (404, 0)])
def test_bodies_agree_where_their_statuses_do(status: int, agrees: int) -> None:
    comparison = Comparison(0)
    reference = answers_to_tensors([Payload(b"[1, 2]", "application/json")])
    comparison.add_bodies(reference, answers_to_tensors([Payload(b"[1,2]", "application/json", status=status)]))
    assert (comparison.compared, comparison.agreeing) == (1, agrees)
    assert (comparison.outputs["body"].rows, comparison.outputs["body"].agreeing_rows) == (1, agrees)


def test_figures_of_several_gateways_add_up() -> None:
    pairs = [(SCORES, SCORES), (SCORES, SCORES[[0, 0, 2]]), (SCORES, SCORES[:1]), (SCORES, SCORES * 2)]
    whole, parts = Comparison(5), [Comparison(7), Comparison(5)]
    for number, (reference, outputs) in enumerate(pairs):
        for comparison in (whole, parts[number % 2]):
            comparison.add({"y": reference}, {"y": outputs})
            comparison.count_latencies(1000 * number, 10)
            comparison.count_failure("InternalError")
            comparison.dropped += 1
    total = Comparison(9)
    for part in parts:
        total.merge(part)
    assert total == whole
    assert (total.compared, total.agreeing, total.dropped, total.failures) == (4, 2, 4, {"InternalError": 4})


def test_outputs_without_number_are_not_told_apart() -> None:
    comparison = Comparison(0)
    for number in range(200):
        comparison.add({f"y{number}": SCORES}, {f"y{number}": SCORES})
    assert (len(comparison.outputs), comparison.compared, comparison.agreeing) == (64, 200, 200)
    assert len(msgspec.msgpack.encode(comparison)) < 10_000
