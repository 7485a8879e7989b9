from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.base import ConversionOptions
from converters.graph import open_session, runner
from converters.pipeline import ConversionRequest, convert_source
from converters.publish import Published
from model_store.errors import TrustRequired


def test_names_layout_and_answers_are_the_model_s(
    exports: Callable[[str], Path],
    publish: Callable[..., Published],
    answers: Callable[..., dict[str, np.ndarray]],
    record: Callable[[Path], Any],
) -> None:
    folder = exports("keras")
    published = publish(folder / "two.keras", largest_batch=8)
    signature = published.manifest.signatures["serving_default"]
    assert {spec.name: (spec.datatype, spec.shape) for spec in signature.inputs} == {
        "image": ("FP32", (-1, 6, 6, 2)),
        "extra": ("FP32", (-1, 3)),
    }
    assert {spec.name: spec.shape for spec in signature.outputs} == {"scores": (-1, 4), "height": (-1, 1)}
    assert published.manifest.row_independent
    assert set(published.manifest.libraries) >= {"keras", "tensorflow", "tf2onnx"}
    inputs, expected = record(folder / "two.npz")
    got = answers(published, inputs)
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5", "lambda-keras-2.h5"])
def test_a_lambda_layer_never_runs_unasked(
    exports: Callable[[str], Path], publish: Callable[..., Published], name: str
) -> None:
    folder = exports("keras")
    with pytest.raises(
        TrustRequired, match=rf"'{name}': layer 'marking' is a Lambda, which carries code; .* `trust: true`"
    ):
        publish(folder / name)
    assert not (folder / f"{name}.ran").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5", "lambda-keras-2.h5"])
def test_a_trusted_lambda_layer_runs_and_converts(exports: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    folder = exports("keras")
    options = ConversionOptions(trust=True, largest_batch=3)
    request = ConversionRequest(framework="keras", source=str(folder / name), workdir=str(tmp_path), options=options)
    converted = convert_source(request, lambda _: None)
    assert converted.runtime == "onnx"
    assert (folder / f"{name}.ran").exists()
    run = runner(open_session(Path(converted.files["model.onnx"])))
    assert run({"x": np.array([[1.0, -2.0, 0.5]], dtype=np.float32)})["marking"].tolist() == [[2.0, -4.0, 1.0]]
