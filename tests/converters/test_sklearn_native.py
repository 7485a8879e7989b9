"""Models served by scikit-learn itself, and boosting libraries' estimators in skl2onnx's graphs."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import skops.io
from sklearn.cluster import KMeans
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LinearRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from converters.base import ConversionOptions
from converters.native import load_native
from converters.pipeline import ConversionRequest, Converted, convert_source
from converters.sklearn.converter import SklearnConverter
from converters.sklearn.reading import PICKLE_FILE, SKOPS_FILE
from model_store.errors import ConversionError, TrustRequired

pytestmark = pytest.mark.filterwarnings("ignore")  # skl2onnx's and the boosting libraries', of themselves
Convert = Callable[..., Converted]
RANDOM = np.random.default_rng(3)


@pytest.fixture
def convert(tmp_path: Path) -> Convert:
    """Converts a model in this process, saved by pickle and trusted."""

    def run(model: Any, **options: Any) -> Converted:
        source = tmp_path / "model.pkl"
        source.write_bytes(pickle.dumps(model))
        request = ConversionRequest(
            framework="sklearn",
            source=str(source),
            workdir=str(tmp_path / "work"),
            options=ConversionOptions(trust=True, **options),
        )
        return convert_source(request, lambda _: None)

    return run


def test_a_native_version_is_the_file_itself_and_answers_as_the_estimator(tmp_path: Path) -> None:
    rows = RANDOM.normal(size=(60, 3))
    forest = RandomForestClassifier(5, random_state=0, n_jobs=2).fit(rows, np.where(rows[:, 0] > 0, "up", "down"))
    skops.io.dump(forest, tmp_path / "m.skops")
    native = SklearnConverter().native(tmp_path / "m.skops", ConversionOptions(), tmp_path / "work")
    assert native.runtime == "sklearn"
    assert [path.name for path in native.model.parent.iterdir()] == [SKOPS_FILE]
    assert [(spec.name, spec.datatype, spec.shape) for spec in native.signature.outputs] == [
        ("label", "BYTES", (-1,)),
        ("probabilities", "FP32", (-1, 2)),
    ]
    model = load_native("sklearn", native.model.parent, {"serving_default": native.signature}, threads=1)
    some = rows[:4].astype(np.float32)
    answer = model.run({"input": some}, "serving_default")
    assert answer["label"].tolist() == [label.encode() for label in forest.predict(some)]
    np.testing.assert_array_equal(answer["probabilities"], forest.predict_proba(some).astype(np.float32))


def test_a_stored_pickle_is_loaded_by_nobody_who_does_not_trust_it(tmp_path: Path) -> None:
    (tmp_path / PICKLE_FILE).write_bytes(pickle.dumps(LinearRegression().fit([[1.0], [2.0]], [1, 2])))
    with pytest.raises(TrustRequired, match=r"'model\.joblib' is a pickle"):
        load_native("sklearn", tmp_path, {})
    load_native("sklearn", tmp_path, {}, trusted=True)


def test_native_takes_fp64_where_the_estimator_takes_nothing_else(convert: Convert) -> None:
    converted = convert(KMeans(2, random_state=0, n_init=1).fit(RANDOM.normal(size=(40, 2))), to="native")
    assert converted.runtime == "sklearn"
    assert converted.signatures["serving_default"].inputs[0].datatype == "FP64"


def test_a_function_of_the_user_s_own_stays_with_scikit_learn_and_says_why(convert: Convert) -> None:
    model = make_pipeline(FunctionTransformer(np.nan_to_num), LinearRegression()).fit(np.eye(3), [1, 2, 3])
    converted = convert(model)
    assert converted.runtime == "sklearn"
    assert "FunctionTransformer calls nan_to_num, which is Python" in (converted.reason or "")


def test_answers_wider_than_a_server_gives_are_refused(convert: Convert) -> None:
    with pytest.raises(ConversionError, match=r"output 'output' has 1048576 columns; more than 100000 are not served"):
        convert(HashingVectorizer())


def test_wide_texts_are_fine_in_front_of_a_classifier(convert: Convert) -> None:
    texts = ["good food", "bad food", "good", "bad"]
    converted = convert(make_pipeline(HashingVectorizer(), SGDClassifier(random_state=0)).fit(texts, [1, 0, 1, 0]))
    assert converted.runtime == "sklearn"
    assert converted.signatures["serving_default"].inputs[0].shape == (-1,)


def test_several_columns_of_one_encoder_share_a_matrix(convert: Convert) -> None:
    rows = np.array([["a", "b"], ["b", "c"], ["a", "c"], ["b", "b"]], dtype=object)
    converted = convert(
        make_pipeline(OneHotEncoder(handle_unknown="ignore"), LinearRegression()).fit(rows, [1, 2, 3, 4])
    )
    (spec,) = converted.signatures["serving_default"].inputs
    assert (converted.runtime, spec.datatype, spec.shape) == ("onnx", "BYTES", (-1, 2))


def classified() -> tuple[np.ndarray, np.ndarray]:
    found: tuple[np.ndarray, np.ndarray] = make_classification(160, 4, n_informative=3, n_redundant=0, random_state=0)
    return found


def boosters() -> dict[str, Any]:
    import catboost
    import lightgbm
    import xgboost

    return {
        "xgboost": xgboost.XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1),
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=4, verbose=-1, n_jobs=1),
        "catboost": catboost.CatBoostClassifier(
            iterations=4, depth=2, verbose=0, allow_writing_files=False, thread_count=1
        ),
    }


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_estimators_of_boosting_libraries_become_onnx(convert: Convert, library: str) -> None:
    converted = convert(boosters()[library].fit(*classified()))
    assert converted.runtime == "onnx"
    signature = converted.signatures["serving_default"]
    assert [(spec.name, spec.shape) for spec in signature.inputs] == [("input", (-1, 4))]
    assert [spec.name for spec in signature.outputs] == ["label", "probabilities"]
    assert converted.labels == ("0", "1")


def with_categories() -> tuple[pandas.DataFrame, np.ndarray]:
    frame = pandas.DataFrame(
        {
            "size": RANDOM.normal(size=240),
            "city": pandas.Categorical(RANDOM.choice(["x", "yy", "zzz"], 240)),
            "plan": pandas.Categorical(RANDOM.choice([3, 5, 9], 240)),
        }
    )
    return frame, ((frame["size"] > 0) & (frame["city"] != "x")).to_numpy().astype(int) + (frame["plan"] == 5)


@pytest.mark.parametrize(
    ("library", "settings"),
    [("xgboost", {"enable_categorical": True}), ("lightgbm", {"min_child_samples": 5, "min_data_per_group": 5})],
)
def test_pandas_categories_are_inputs_by_name(convert: Convert, library: str, settings: dict[str, Any]) -> None:
    converted = convert(boosters()[library].set_params(**settings).fit(*with_categories()))
    signature = converted.signatures["serving_default"]
    assert [(spec.name, spec.datatype) for spec in signature.inputs] == [
        ("size", "FP32"),
        ("city", "BYTES"),
        ("plan", "INT64"),
    ]
    assert converted.runtime == "onnx", converted.reason


def test_categories_of_catboost_are_its_own_affair(convert: Convert) -> None:
    frame, classes = with_categories()
    texts = frame.assign(city=frame["city"].astype(object), plan=frame["plan"].astype(str))
    converted = convert(boosters()["catboost"].set_params(cat_features=["city", "plan"]).fit(texts, classes))
    assert converted.runtime == "sklearn"
    assert "CatBoost keeps hashes of them" in (converted.reason or "")
    inputs = converted.signatures["serving_default"].inputs
    assert [spec.datatype for spec in inputs] == ["FP32", "BYTES", "BYTES"]


def test_zero_for_missing_is_left_to_xgboost(convert: Convert) -> None:
    converted = convert(boosters()["xgboost"].set_params(missing=0.0).fit(*classified()))
    assert converted.runtime == "sklearn"
    assert "takes 0.0 for missing, which only XGBoost itself does" in (converted.reason or "")
