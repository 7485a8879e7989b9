from collections.abc import Callable
from pathlib import Path

import numpy as np

from converters.publish import Published

Publish = Callable[..., Published]
Answers = Callable[..., dict[str, np.ndarray]]
Record = Callable[[Path], tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]


def shapes(published: Published) -> dict[str, tuple[str, tuple[int, ...]]]:
    signature = published.manifest.signatures["serving_default"]
    return {spec.name: (spec.datatype, spec.shape) for spec in (*signature.inputs, *signature.outputs)}


def test_names_dynamic_dimensions_and_answers_are_the_program_s(
    exports: Callable[[str], Path], publish: Publish, answers: Answers, record: Record
) -> None:
    folder = exports("pytorch")
    published = publish(folder / "named.pt2", largest_batch=16)
    assert shapes(published) == {
        "words": ("INT64", (-1, -1)),
        "bias": ("FP32", (-1, 4)),
        "scores": ("FP32", (-1, 4)),
        "best": ("INT64", (-1,)),
    }
    assert published.manifest.framework == "pytorch"
    assert published.manifest.parity is not None
    assert published.manifest.parity.reference.startswith("pytorch 2.")
    assert published.manifest.row_independent
    assert set(published.manifest.libraries) == {"torch", "onnxscript", "onnx", "onnxruntime"}
    inputs, expected = record(folder / "named.npz")
    got = answers(published, inputs)
    np.testing.assert_allclose(got["scores"], expected["scores"], rtol=1e-5, atol=1e-6)
    assert np.array_equal(got["best"], expected["best"])


def test_a_tuple_is_numbered_and_a_fixed_batch_is_freed(
    exports: Callable[[str], Path], publish: Publish, answers: Answers, record: Record
) -> None:
    folder = exports("pytorch")
    published = publish(folder / "fixed.pt2")
    assert shapes(published) == {
        "x": ("FP32", (-1, 3)),
        "output_0": ("FP32", (-1, 3)),
        "output_1": ("FP32", (-1,)),
    }
    assert published.manifest.runtime == "onnx"
    inputs, expected = record(folder / "fixed.npz")
    got = answers(published, inputs)
    np.testing.assert_allclose(got["output_1"], expected["output_1"], rtol=1e-6)


def test_a_program_that_mixes_rows_is_published_as_not_row_independent(
    exports: Callable[[str], Path], publish: Publish
) -> None:
    published = publish(exports("pytorch") / "leaky.pt2", largest_batch=8)
    assert shapes(published) == {"x": ("FP32", (-1, 3)), "output": ("FP32", (-1, 3))}
    assert not published.manifest.row_independent
