import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.keras.archive import vet_config
from converters.publish import Published
from model_store.errors import SourceError, TrustRequired


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
    assert set(published.manifest.libraries) == {"keras", "tensorflow", "tf2onnx"}
    inputs, expected = record(folder / "two.npz")
    got = answers(published, inputs)
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6)


def test_a_lambda_layer_is_refused(exports: Callable[[str], Path], publish: Callable[..., Published]) -> None:
    with pytest.raises(
        TrustRequired, match=r"'lambda\.keras': layer 'lambda' is a Lambda, which carries code; .* `trust: true`"
    ):
        publish(exports("keras") / "lambda.keras")


def archive(path: Path, config: Any) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", config if isinstance(config, str) else json.dumps(config))
        file.writestr("model.weights.h5", b"")
    return path


def layer(name: str, module: str | None) -> dict[str, Any]:
    return {"class_name": name, "module": module, "config": {"name": "mine"}}


@pytest.mark.parametrize("name", ["Lambda", "TFSMLayer", "__lambda__", "TorchModuleWrapper"])
def test_code_is_found_wherever_it_is_nested(tmp_path: Path, name: str) -> None:
    config = {"config": {"layers": [{"config": {"layer": layer(name, "keras.layers")}}]}}
    with pytest.raises(TrustRequired, match=f"layer 'mine' is a {name}, which carries code"):
        vet_config(archive(tmp_path / "m.keras", config))


def test_a_class_from_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"needs the class my\.layers\.Attention, whose code is not in the file"):
        vet_config(archive(tmp_path / "m.keras", {"layers": [layer("Attention", "my.layers")]}))


def test_a_damaged_config_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'m\.keras' is cut off or damaged"):
        vet_config(archive(tmp_path / "m.keras", "{"))


def test_layers_of_keras_pass(quickstart: Path) -> None:
    vet_config(quickstart / "digits.keras")
