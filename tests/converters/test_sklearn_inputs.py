"""Which tensors a fitted model takes, and what becomes of them."""

from typing import Any

import numpy as np
import pandas
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, OneHotEncoder, OrdinalEncoder, StandardScaler

from converters.sklearn.inputs import InputPlan, plan_inputs, public_names
from model_store.errors import ConversionError
from model_store.manifest import TensorSpec

FRAME = pandas.DataFrame(
    {
        "age (years)": [1, 2, 3, 4],
        "city": ["Bonn", "Rome", "Bonn", "Paris"],
        "plan": [1, 2, 1, 5],
        "member": [True, False, True, True],
        "ratio": [0.1, 0.5, 0.5, 0.25],
        "note": ["a word", "two", "a b", "c"],
        "id": [7, 8, 9, 10],
    }
)
TARGET = [0.0, 1.0, 2.0, 3.0]


def specs(plan: InputPlan) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(spec.name, spec.datatype, spec.shape) for spec in plan.specs]


def columns() -> Any:
    transformer = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age (years)"]),
            ("codes", OneHotEncoder(), ["plan", "city", "member"]),
            ("exact", OrdinalEncoder(), ["ratio"]),
            ("text", CountVectorizer(), "note"),
        ]
    )
    return transformer.fit(FRAME)


def test_columns_have_inputs_of_what_their_transformers_know() -> None:
    plan = plan_inputs(columns(), None)
    assert specs(plan) == [
        ("age_years", "FP32", (-1, 1)),
        ("city", "BYTES", (-1, 1)),
        ("plan", "INT64", (-1, 1)),
        ("member", "BOOL", (-1, 1)),
        ("ratio", "FP64", (-1, 1)),  # 0.1 is no float32: it would be another category
        ("note", "BYTES", (-1, 1)),
    ]
    assert [column.name for column in plan.columns if column.spec is None] == ["id"]


def test_rows_are_a_frame_with_the_names_and_types_of_the_training_data() -> None:
    plan = plan_inputs(columns(), None)
    arrays = {
        "age_years": np.array([[3.0]], np.float32),
        "city": np.array([[b"Rome"]], object),
        "plan": np.array([[5]]),
        "member": np.array([[True]]),
        "ratio": np.array([[0.1]]),
        "note": np.array([["ä b".encode()]], object),
    }
    frame = plan.rows(arrays)
    assert list(frame.columns) == list(FRAME.columns)
    assert frame.iloc[0, :6].tolist() == [3.0, "Rome", 5, True, 0.1, "ä b"]
    assert frame["age (years)"].dtype == np.float32
    assert frame["plan"].dtype == np.int64
    assert frame["id"].isna().all()
    assert columns().transform(frame).shape == (1, 12)


def test_one_matrix_where_no_column_is_picked() -> None:
    scaler = make_pipeline(StandardScaler(), LinearRegression()).fit(FRAME[["age (years)", "ratio"]], TARGET)
    assert specs(plan_inputs(scaler, None)) == [("input", "FP32", (-1, 2))]
    assert specs(plan_inputs(scaler, None, "FP64")) == [("input", "FP64", (-1, 2))]
    assert specs(plan_inputs(OneHotEncoder().fit(FRAME[["city", "note"]]), None)) == [("input", "BYTES", (-1, 2))]
    assert specs(plan_inputs(OrdinalEncoder().fit(FRAME[["plan", "id"]]), None)) == [("input", "INT64", (-1, 2))]


def test_columns_by_their_place_in_a_matrix_are_one_matrix() -> None:
    transformer = ColumnTransformer([("a", StandardScaler(), [0]), ("b", "passthrough", slice(1, 3))])
    assert specs(plan_inputs(transformer.fit(np.eye(3)), None)) == [("input", "FP32", (-1, 3))]


def test_numbers_of_several_kinds_without_names_are_one_matrix() -> None:
    transformer = ColumnTransformer([("a", OneHotEncoder(), [0]), ("b", StandardScaler(), [1]), ("c", "drop", [2])])
    plan = plan_inputs(transformer.fit(np.arange(12).reshape(4, 3)), None)
    assert specs(plan) == [("input", "FP32", (-1, 3))]


def test_columns_of_different_kinds_without_names_are_called_as_scikit_learn_calls_them() -> None:
    transformer = ColumnTransformer([("a", OneHotEncoder(), [0]), ("b", StandardScaler(), [1])])
    plan = plan_inputs(transformer.fit(FRAME[["city", "ratio"]].to_numpy()), None)
    assert specs(plan) == [("x0", "BYTES", (-1, 1)), ("x1", "FP32", (-1, 1))]
    rows = plan.rows({"x0": np.array([[b"Rome"]], object), "x1": np.array([[0.5]], np.float32)})
    assert rows.tolist() == [["Rome", 0.5]]
    assert plan_inputs(transformer, plan.specs) == plan


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_a_vectorizer_reads_one_text_a_row(shape: tuple[int, ...]) -> None:
    union = make_pipeline(FeatureUnion([("words", CountVectorizer())]), LinearRegression()).fit(FRAME["note"], TARGET)
    given = (TensorSpec("review", "BYTES", (-1, *shape[1:])),)
    assert specs(plan_inputs(union, None)) == [("input", "BYTES", (-1,))]
    plan = plan_inputs(union, given)
    assert plan.specs == given
    assert plan.rows({"review": np.array([b"a", "ü".encode()], object).reshape(shape)}).tolist() == ["a", "ü"]


def test_targets_are_one_label_a_row() -> None:
    assert specs(plan_inputs(LabelEncoder().fit(["b", "a"]), None)) == [("input", "BYTES", (-1,))]
    assert specs(plan_inputs(LabelEncoder().fit([4, 7]), None)) == [("input", "INT64", (-1,))]


def imputed() -> Any:
    frame = pandas.DataFrame({"city": ["Bonn", np.nan, "Rome", "Rome"], "age": [1.0, np.nan, 3.0, 4.0]})
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    return ColumnTransformer([("w", words, ["city"]), ("n", SimpleImputer(), ["age"])]).fit(frame)


def test_the_empty_text_is_missing_where_an_imputer_waits_for_it() -> None:
    plan = plan_inputs(imputed(), None)
    assert plan.missing_texts == {"city"}
    frame = plan.rows({"city": np.array([[b""], [b"Bonn"]], object), "age": np.array([[np.nan], [1]], np.float32)})
    assert frame["city"].isna().tolist() == [True, False]
    assert imputed().transform(frame)[0].tolist() == [0.0, 1.0, pytest.approx(8 / 3)]


def test_the_empty_text_is_itself_everywhere_else() -> None:
    plan = plan_inputs(columns(), None)
    assert plan.missing_texts == set()


class Picker(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Takes one column by its name."""

    def fit(self, frame: Any, target: Any = None) -> "Picker":
        self.feature_names_in_ = np.array(frame.columns, object)
        return self

    def transform(self, frame: Any) -> Any:
        return frame[["ratio"]]


def test_what_a_column_holds_is_asked_where_nothing_tells() -> None:
    model = make_pipeline(Picker(), LinearRegression()).fit(FRAME[["ratio", "city"]], TARGET)
    with pytest.raises(
        ConversionError, match=r"its columns ratio, city hold: name each under `inputs:`, as \{name: ratio"
    ):
        plan_inputs(model, None)
    given = (TensorSpec("ratio", "FP32", (-1, 1)), TensorSpec("city", "BYTES", (-1, 1)))
    plan = plan_inputs(model, given)
    assert plan.specs == given
    frame = plan.rows({"ratio": np.array([[0.5]], np.float32), "city": np.array([[b"Rome"]], object)})
    assert frame.iloc[0].tolist() == [0.5, "Rome"]


def test_a_function_of_the_user_s_own_on_unnamed_columns_takes_numbers() -> None:
    assert specs(plan_inputs(FunctionTransformer(abs).fit(np.eye(2)), None)) == [("input", "FP32", (-1, 2))]


def test_inputs_of_the_config_decide_the_datatype_of_columns() -> None:
    given = (TensorSpec("age_years", "INT64", (-1, 1)), TensorSpec("city", "BYTES", (-1, 1)))
    plan = plan_inputs(columns(), given)
    assert ("age_years", "INT64", (-1, 1)) in specs(plan)
    with pytest.raises(
        ConversionError, match=r"inputs: town is no column of the model; its columns are age_years, city"
    ):
        plan_inputs(columns(), (*given, TensorSpec("town", "BYTES", (-1, 1))))


def test_a_stored_signature_makes_the_same_plan() -> None:
    plan = plan_inputs(columns(), None)
    assert plan_inputs(columns(), plan.specs) == plan
    wide = plan_inputs(columns(), None, "FP64")
    assert plan_inputs(columns(), wide.specs) == wide


def test_a_model_that_does_not_tell_its_columns_asks_for_them() -> None:
    with pytest.raises(
        ConversionError, match=r"FunctionTransformer does not say how many columns it takes; give `inputs:"
    ):
        plan_inputs(FunctionTransformer(np.log1p), None)
    plan = plan_inputs(FunctionTransformer(np.log1p), (TensorSpec("x", "FP64", (-1, 3)),))
    assert specs(plan) == [("x", "FP64", (-1, 3))]


def test_dicts_are_refused_by_name() -> None:
    model = make_pipeline(DictVectorizer(), LinearRegression()).fit([{"a": 1.0}, {"a": 2.0}], [1, 2])
    with pytest.raises(ConversionError, match="DictVectorizer takes dicts, which no tensor holds"):
        plan_inputs(model, None)


def test_datatypes_that_scikit_learn_does_not_take_are_refused() -> None:
    with pytest.raises(ConversionError, match=r"input 'x': datatype UINT8; scikit-learn takes FP32, FP64, INT64"):
        plan_inputs(StandardScaler().fit(np.eye(2)), (TensorSpec("x", "UINT8", (-1, 2)),))


def test_public_names_keep_letters_and_never_meet() -> None:
    assert public_names(["a b", "a_b", "größe (cm)", "%", "x-1.5", "a  b"]) == [
        "a_b",
        "a_b_2",
        "größe_cm",
        "column",
        "x-1.5",
        "a_b_3",
    ]
