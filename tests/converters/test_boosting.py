import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.base import ConversionOptions
from converters.boosting.converter import BoostingConverter
from converters.boosting.loaded import LoadedModel
from converters.boosting.trees import BoostedModel
from converters.graph import open_session, runner
from converters.publish import Published
from converters.thresholds import float32_not_above, group_by_feature, probe_range, probe_rows
from model_store.errors import ConfigError, ConversionError, SourceError
from model_store.manifest import TensorSpec

Exports = Callable[[str], Path]
Publish = Callable[..., Published]
CLASSES = {"label": ("INT64", (-1,)), "probabilities": ("FP32", (-1, 3))}


@pytest.mark.parametrize(
    ("file", "outputs", "library"),
    [
        ("xgb-classes.json", CLASSES, "xgboost"),
        ("xgb-binary.ubj", {**CLASSES, "probabilities": ("FP32", (-1, 2))}, "xgboost"),
        ("xgb-height.json", {"output": ("FP32", (-1, 1))}, "xgboost"),
        ("lgb-classes.txt", CLASSES, "lightgbm"),
        ("lgb-height.txt", {"output": ("FP32", (-1, 1))}, "lightgbm"),
        ("cat-classes.cbm", CLASSES, "catboost"),
    ],
)
def test_answers_are_the_booster_s(
    exports: Exports,
    publish: Publish,
    answers: Callable[..., dict[str, np.ndarray]],
    record: Callable[[Path], Any],
    file: str,
    outputs: dict[str, tuple[str, tuple[int, ...]]],
    library: str,
) -> None:
    folder = exports("boosting")
    published = publish(folder / file)
    manifest = published.manifest
    signature = manifest.signatures["serving_default"]
    assert manifest.runtime == "onnx"
    assert [(spec.name, spec.datatype, spec.shape) for spec in signature.inputs] == [("input", "FP32", (-1, 4))]
    assert {spec.name: (spec.datatype, spec.shape) for spec in signature.outputs} == outputs
    assert manifest.row_independent
    assert library in manifest.libraries
    assert [edge.outcome for edge in manifest.parity.edges] == ["equal"] * 3
    inputs, expected = record(folder / f"{Path(file).stem}.npz")
    got = answers(published, inputs)
    for output, array in expected.items():
        np.testing.assert_allclose(got[output], array, rtol=1e-4, atol=1e-5)


def test_values_at_thresholds_take_lightgbm_s_branch(
    exports: Exports,
    publish: Publish,
    answers: Callable[..., dict[str, np.ndarray]],
    record: Callable[[Path], Any],
) -> None:
    folder = exports("boosting")
    inputs, expected = record(folder / "lgb-steps.npz")
    got = answers(publish(folder / "lgb-steps.txt"), inputs)
    np.testing.assert_allclose(got["output"], expected["output"], rtol=1e-5)


def test_a_cut_off_model_is_told(exports: Exports, tmp_path: Path, publish: Publish) -> None:
    data = (exports("boosting") / "xgb-height.json").read_bytes()
    (tmp_path / "m.json").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=r"'m\.json' is cut off or damaged: XGBoost says"):
        publish(tmp_path / "m.json")


@pytest.mark.parametrize(("file", "said"), [("lgb-height.txt", "LightGBM says"), ("cat-classes.cbm", "CatBoost says")])
def test_half_a_model_is_refused_in_one_line(exports: Exports, tmp_path: Path, file: str, said: str) -> None:
    data = (exports("boosting") / file).read_bytes()
    (tmp_path / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=said) as refusal:
        BoostingConverter().convert(tmp_path / file, ConversionOptions(), tmp_path)
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize("file", ["xgb-height.json", "lgb-height.txt"])
def test_the_config_names_the_input_and_its_width(
    exports: Exports, tmp_path: Path, record: Callable[[Path], Any], file: str
) -> None:
    folder = exports("boosting")
    options = ConversionOptions(inputs=(TensorSpec("rows", "FP64", (-1, 4)),))
    conversion = BoostingConverter().convert(folder / file, options, tmp_path)
    assert conversion.signature.inputs == (TensorSpec("rows", "FP64", (-1, 4)),)
    inputs, expected = record(folder / f"{Path(file).stem}.npz")
    got = conversion.reference({"rows": inputs["input"].astype(np.float64)})
    np.testing.assert_allclose(got["output"], expected["output"], rtol=1e-6)


def test_lightgbm_is_offered_with_wider_sums_too(
    exports: Exports, tmp_path: Path, record: Callable[[Path], Any]
) -> None:
    folder = exports("boosting")
    narrow, wide = BoostingConverter().alternatives(folder / "lgb-height.txt", ConversionOptions(), tmp_path)
    assert wide.signature == narrow.signature
    inputs, expected = record(folder / "lgb-height.npz")
    errors = [
        np.abs(runner(open_session(each.model))(inputs)["output"] - expected["output"]).max() for each in (narrow, wide)
    ]
    assert errors[1] <= errors[0] < 1e-5
    # What is left is the rounding of the answer to FP32.
    assert errors[1] <= np.abs(expected["output"]).max() * 2.0**-24


class LaterForm(LoadedModel):
    library, version = "xgboost", "9.0"

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return rows

    def _read(self) -> BoostedModel:
        return json.loads('{"forest": []}')["trees"]  # type: ignore[no-any-return]


def test_a_form_that_is_not_known_is_no_defect() -> None:
    with pytest.raises(
        ConversionError, match=r"xgboost 9\.0 writes the model in a form that is not known: KeyError: 't"
    ):
        LaterForm().read()


@pytest.mark.parametrize(
    ("datatype", "shape", "given"), [("INT64", (-1, 4), "rows:INT64:-1,4"), ("FP32", (-1, 5), "rows:FP32:-1,5")]
)
def test_inputs_that_do_not_fit_are_refused(
    exports: Exports, tmp_path: Path, datatype: str, shape: tuple[int, ...], given: str
) -> None:
    options = ConversionOptions(inputs=(TensorSpec("rows", datatype, shape),))
    wanted = rf"inputs: the model takes one matrix, FP32 or FP64 of shape \[-1, 4\]; got {given}"
    with pytest.raises(ConfigError, match=wanted):
        BoostingConverter().convert(exports("boosting") / "xgb-height.json", options, tmp_path)


def test_thresholds_are_rounded_down_to_float32() -> None:
    rounded = float32_not_above(np.array([0.1, 0.5, -0.1, 1e308, -np.inf]))
    assert rounded.dtype == np.float32
    assert rounded[0] == np.nextafter(np.float32(0.1), np.float32(0))
    assert rounded[1] == np.float32(0.5)
    assert rounded[2] == np.float32(-0.1)
    assert rounded[3] == np.finfo(np.float32).max
    assert rounded[4] == -np.inf


def test_probes_lie_at_and_beside_thresholds() -> None:
    groups = group_by_feature([0, 0, 2], [1.5, 2.5, np.inf], 3)
    assert [group.tolist() for group in groups] == [[1.5, 2.5], [], []]
    rows = probe_rows(groups, np.float32, missing=True)
    assert (rows == 1.5).any()
    assert (rows == np.nextafter(np.float32(1.5), np.float32(2))).any()
    assert np.isnan(rows[1::2]).any()
    assert not np.isnan(rows[::2]).any()
    low, high = probe_range(groups)
    assert np.array_equal(low < [1.5, -1, -1], [True, True, True])
    assert np.array_equal(high > [2.5, 1, 1], [True, True, True])
