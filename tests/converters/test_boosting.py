from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.boosting.lightgbm_text import LightGBMText
from converters.publish import Published
from converters.thresholds import float32_not_above, group_by_feature, probe_range, probe_rows
from converters.boosting.xgboost_json import XGBoostJson
from model_store.errors import ConversionError, SourceError

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
    signature = published.manifest.signatures["serving_default"]
    assert [(spec.name, spec.datatype, spec.shape) for spec in signature.inputs] == [("input", "FP32", (-1, 4))]
    assert {spec.name: (spec.datatype, spec.shape) for spec in signature.outputs} == outputs
    assert published.manifest.row_independent
    assert set(published.manifest.libraries) == {library, "onnxmltools"}
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


LIGHTGBM = """tree
version=v4
num_class=1
max_feature_idx=1
objective=binary sigmoid:1
feature_infos=[0:1] 3:5:9
tree_sizes=100

Tree=0
num_leaves=3
split_feature=0 1
threshold=0.1 0
decision_type=2 1
leaf_value=1 2 3

Tree=1
num_leaves=1
leaf_value=1

end of trees
"""


def test_a_lightgbm_text_tells_its_thresholds() -> None:
    model = LightGBMText(LIGHTGBM)
    assert (model.objective, model.classes, model.missing) == ("binary", 2, False)
    assert [group.tolist() for group in model.thresholds()] == [[0.1], [3.0, 5.0, 9.0]]
    rounded = model.with_float32_thresholds()
    assert "tree_sizes" not in rounded
    assert "threshold=0.09999999403953552 0\n" in rounded
    assert rounded.count("Tree=") == 2


def xgboost_model(booster: str, tree: dict[str, Any]) -> XGBoostJson:
    learner = {
        "objective": {"name": "reg:squarederror"},
        "learner_model_param": {"num_feature": "2", "num_class": "0"},
        "gradient_booster": {"name": booster, "model": {"trees": [tree]}},
    }
    return XGBoostJson(learner, [3, 2, 0])


def test_categorical_splits_of_xgboost_are_refused() -> None:
    with pytest.raises(ConversionError, match="splits on categories"):
        xgboost_model("gbtree", {"categories": [1]}).refuse_unsupported()


def test_linear_boosters_are_refused() -> None:
    with pytest.raises(ConversionError, match="'gblinear' can't be converted; expected 'gbtree' or 'dart'"):
        xgboost_model("gblinear", {}).refuse_unsupported()
