from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.base import Conversion, ConversionOptions
from converters.boosting.converter import BoostingConverter
from converters.boosting.native import BoostingModel
from converters.publish import Published
from model_store.errors import InvalidInput, SourceError

Exports = Callable[[str], Path]
FILES = [
    "xgb-classes.json",
    "xgb-binary.ubj",
    "xgb-height.json",
    "lgb-classes.txt",
    "lgb-height.txt",
    "cat-classes.cbm",
]


def native(exports: Exports, tmp_path: Path, file: str) -> tuple[Conversion, BoostingModel]:
    conversion = BoostingConverter().native(exports("boosting") / file, ConversionOptions(to="native"), tmp_path)
    signatures = {"serving_default": conversion.signature}
    return conversion, BoostingModel(conversion.model.parent, signatures, threads=1)


@pytest.mark.parametrize("file", FILES)
def test_the_library_answers_under_the_names_that_onnx_has(
    exports: Exports, tmp_path: Path, record: Callable[[Path], Any], file: str
) -> None:
    conversion, model = native(exports, tmp_path, file)
    assert conversion.runtime == "boosting"
    on_onnx = BoostingConverter().convert(exports("boosting") / file, ConversionOptions(), tmp_path)
    assert conversion.signature == on_onnx.signature
    inputs, expected = record(exports("boosting") / f"{Path(file).stem}.npz")
    answers = model.run(inputs, "serving_default")
    assert list(answers) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(answers[name], array, rtol=1e-6)
    assert {array.dtype.name for array in answers.values()} <= {"float32", "int64"}


@pytest.mark.parametrize("file", FILES)
def test_threads_do_not_disturb_each_other(exports: Exports, tmp_path: Path, file: str) -> None:
    _, model = native(exports, tmp_path, file)
    batches = [np.random.default_rng(seed).normal(size=(17, 4)).astype(np.float32) for seed in range(40)]
    alone = [list(model.run({"input": batch}, "serving_default").values())[-1] for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda batch: model.run({"input": batch}, "serving_default"), batches))
    for expected, answers in zip(alone, together, strict=True):
        np.testing.assert_array_equal(list(answers.values())[-1], expected)


def test_a_native_version_is_published_when_asked_for(exports: Exports, publish: Callable[..., Published]) -> None:
    manifest = publish(exports("boosting") / "lgb-classes.txt", to="native").manifest
    assert manifest.runtime == "boosting"
    assert list(manifest.files) == ["model.txt"]
    assert manifest.parity.passed


def test_infinite_values_are_the_caller_s_mistake_to_xgboost(exports: Exports, tmp_path: Path) -> None:
    _, model = native(exports, tmp_path, "xgb-height.json")
    with pytest.raises(InvalidInput, match="XGBoost takes no infinite values; NaN is a missing one"):
        model.run({"input": np.full((1, 4), np.inf, np.float32)}, "serving_default")


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(SourceError, match="holds no model of XGBoost, LightGBM or CatBoost"):
        BoostingModel(tmp_path, {})
