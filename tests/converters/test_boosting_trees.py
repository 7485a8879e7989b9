"""Models written out by hand, so that every branch has an answer that can be seen."""

import json
from typing import Any

import numpy as np
import onnxruntime
import pytest

from converters.boosting.catboost_json import read_catboost
from converters.boosting.lightgbm_text import LightGBMText
from converters.boosting.onnx_graph import write_onnx
from converters.boosting.trees import BoostedModel, Link, Treatment
from converters.boosting.xgboost_json import XGBoostJson
from model_store.errors import ConversionError
from model_store.manifest import TensorSpec

NAN = float("nan")
TENTH = float(np.float32(0.1))
"""Above 0.1, to which it is the nearest float32."""


def answers(model: BoostedModel, rows: list[list[float]], datatype: str = "FP32") -> dict[str, Any]:
    double = datatype == "FP64"
    proto = write_onnx(model, TensorSpec("input", datatype, (-1, model.features)), double=double and model.double)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(None, {"input": np.array(rows, np.float64 if double else np.float32)})
    return {output.name: value.tolist() for output, value in zip(session.get_outputs(), values, strict=True)}


def column(model: BoostedModel, values: list[float], feature: int = 0, datatype: str = "FP32") -> list[float]:
    """Answers to rows that are zero but for one feature."""
    rows = [[value if each == feature else 0.0 for each in range(model.features)] for value in values]
    return [row[0] for row in answers(model, rows, datatype)["output"]]


def lightgbm(decision: int, threshold: str, *, objective: str = "regression", more: str = "") -> BoostedModel:
    """One split of the only feature: 1 to the left, 2 to the right."""
    return LightGBMText(
        f"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nobjective={objective}\n\n"
        f"Tree=0\nnum_leaves=2\nsplit_feature=0\nthreshold={threshold}\ndecision_type={decision}\n"
        f"left_child=-1\nright_child=-2\nleaf_value=1 2\n{more}\n\nend of trees\n\nparameters:\n[objective: x]\n"
    ).read()


NONE, ZERO, NAN_TYPE, LEFT = 0, 4, 8, 2


@pytest.mark.parametrize(
    ("decision", "threshold", "nan", "zero", "tiny"),
    [
        (NONE, "0.5", 1, 1, 1),  # NaN is taken for zero
        (NONE, "-0.5", 2, 2, 2),
        (NONE + LEFT, "-0.5", 2, 2, 2),
        (ZERO, "0.5", 2, 2, 2),  # zero and NaN are missing
        (ZERO + LEFT, "-0.5", 1, 1, 1),
        (NAN_TYPE, "0.5", 2, 1, 1),
        (NAN_TYPE + LEFT, "-0.5", 1, 2, 2),
        (NONE, "1.0000000180025095e-35", 1, 1, 1),  # around zero all values are zero
        (NONE, "-1.0000000180025095e-35", 2, 2, 2),
    ],
)
def test_missing_values_take_lightgbm_s_side(decision: int, threshold: str, nan: int, zero: int, tiny: int) -> None:
    model = lightgbm(decision, threshold)
    for datatype in ("FP32", "FP64"):
        got = column(model, [NAN, 0.0, -0.0, 1e-36, -1e-36, -1.0, 1.0], datatype=datatype)
        assert got == [nan, zero, zero, tiny, tiny, 1, 2]


def test_thresholds_of_lightgbm_are_float64() -> None:
    model = lightgbm(NONE, "0.1")
    below = float(np.nextafter(np.float32(0.1), np.float32(0)))
    assert column(model, [TENTH, below]) == [2, 1]
    assert column(model, [TENTH, 0.1, np.nextafter(0.1, 1)], datatype="FP64") == [2, 1, 2]
    assert not model.needs_double()


def test_categories_of_lightgbm_are_truncated_and_unknown_ones_go_right() -> None:
    # Bits 0, 3 and 40 are set, in two words of 32.
    model = lightgbm(1, "0", more="num_cat=1\ncat_boundaries=0 2\ncat_threshold=9 256")
    assert model.treatments == {0: Treatment.TRUNCATE}
    assert model.trees[0].members[0].tolist() == [0, 3, 40]
    values = [0, 3, 40, 3.9, -0.9, 1, 8, 41, 500, -1, -3, NAN, 1e30]
    for datatype in ("FP32", "FP64"):
        assert column(model, values, datatype=datatype) == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]
    probed = model.thresholds()[0].tolist()
    assert [value for value in probed if value in (-1, -0.5, 3, 3.5, 4)] == [-1, -0.5, 3, 3.5, 4]


@pytest.mark.parametrize(
    ("objective", "left", "right"),
    [
        ("regression", 1, 2),
        ("regression sqrt", 1, 4),
        ("poisson", 2.7182817, 7.389056),
        ("cross_entropy", 0.7310586, 0.880797),
        ("cross_entropy_lambda", 1.3132616, 2.126928),
        ("", 1, 2),
    ],
)
def test_links_of_lightgbm(objective: str, left: float, right: float) -> None:
    model = lightgbm(NONE, "0.5", objective=objective)
    assert column(model, [0, 1]) == pytest.approx([left, right], rel=1e-6)


def test_the_sigmoid_of_lightgbm_has_its_own_slope() -> None:
    model = lightgbm(NONE, "0.5", objective="binary sigmoid:0.5")
    got = answers(model, [[0.0], [1.0]])
    assert got["label"] == [1, 1]
    assert np.array(got["probabilities"])[:, 1] == pytest.approx([0.6224593, 0.7310586], rel=1e-6)


def test_an_unknown_objective_is_no_guess() -> None:
    with pytest.raises(ConversionError, match="LightGBM's objective 'novel' has no known link"):
        lightgbm(NONE, "0.5", objective="novel")


def test_linear_leaves_fall_back_where_a_term_is_missing() -> None:
    more = "is_linear=1\nleaf_const=10 20\nnum_features=1 0\nleaf_features=0  \nleaf_coeff=0.5  "
    assert column(lightgbm(NONE, "0.5", more=more), [-2, 0.25, NAN, 1]) == [9, 10.125, 1, 20]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (("leaf_value=1 2", "leaf_value=1"), "tree 0 has 2 leaves, but its list 'leaf_value' is of another length"),
        (("threshold=0.5", "threshold="), "tree 0 has 2 leaves, but its list 'threshold' is of another length"),
        (("left_child=-1", "left_child=0"), "tree 0 has nodes that lead outside of it"),
        (("right_child=-2", "right_child=-4"), "tree 0 has nodes that lead outside of it"),
        (("split_feature=0", "split_feature=1"), "tree 0 has nodes that lead outside of it"),
        (
            ("objective=", "tree_sizes=500\nobjective="),
            "expected 1 trees of the sizes in the header, found 1 of others",
        ),
    ],
)
def test_a_damaged_text_never_reaches_lightgbm(damage: tuple[str, str], said: str) -> None:
    text = (
        "tree\nversion=v4\nnum_class=1\nmax_feature_idx=0\nobjective=regression\n\nTree=0\nnum_leaves=2\n"
        "split_feature=0\nthreshold=0.5\ndecision_type=2\nleft_child=-1\nright_child=-2\nleaf_value=1 2\n"
    )
    assert LightGBMText(text).features == 1
    with pytest.raises(ValueError, match=said):
        LightGBMText(text.replace(*damage))


@pytest.mark.parametrize(
    ("threshold", "other", "wanted"),
    [("1.5", "2.5", False), ("100.000001", "100.000002", True), ("1700000000", "1700009000", True)],
)
def test_the_width_follows_what_float32_can_tell(threshold: str, other: str, wanted: bool) -> None:
    tree = (
        "num_leaves=2\nsplit_feature=0\nthreshold={}\ndecision_type=0\nleft_child=-1\nright_child=-2\nleaf_value=1 2\n"
    )
    text = f"tree\nversion=v4\nnum_class=1\nmax_feature_idx=0\n\nTree=0\n{tree.format(threshold)}\nTree=1\n"
    assert LightGBMText(text + tree.format(other)).read().needs_double() is wanted


def xgboost(objective: str = "reg:squarederror", base: str = "[0]", **tree: Any) -> BoostedModel:
    """One split of the first of two features, at 0.5: 1 to the left, 2 to the right."""
    document = {
        "left_children": [1, -1, -1],
        "right_children": [2, -1, -1],
        "split_indices": [0, 0, 0],
        "split_conditions": [0.5, 1.0, 2.0],
        "default_left": [0, 0, 0],
        "tree_param": {"size_leaf_vector": "1"},
        **tree,
    }
    model = {"trees": [document], "tree_info": [0], "iteration_indptr": [0, 1]}
    learner = {
        "objective": {"name": objective},
        "learner_model_param": {"num_feature": "2", "num_class": "0", "num_target": "1", "base_score": base},
        "gradient_booster": {"name": "gbtree", "model": model},
    }
    return XGBoostJson(json.dumps({"learner": learner}).encode()).read()


@pytest.mark.parametrize(("default_left", "missing"), [([1, 0, 0], 1), ([0, 0, 0], 2)])
def test_xgboost_asks_for_below_and_knows_where_missing_values_go(default_left: list[int], missing: int) -> None:
    just_below = float(np.nextafter(np.float32(0.5), np.float32(0)))
    assert column(xgboost(default_left=default_left), [0.5, just_below, NAN]) == [2, 1, missing]


@pytest.mark.parametrize(("default_left", "missing"), [([1, 0, 0], 1), ([0, 0, 0], 2)])
def test_categories_of_xgboost_are_floored_and_unknown_ones_go_left(default_left: list[int], missing: int) -> None:
    model = xgboost(
        default_left=default_left,
        categories=[0, 3, 70],
        categories_nodes=[0],
        categories_segments=[0],
        categories_sizes=[3],
    )
    values = [0, 3, 70, 3.9, 1, 71, -1, -0.5, 500, NAN]
    assert column(model, values) == [2, 2, 2, 2, 1, 1, 1, 1, 1, missing]


@pytest.mark.parametrize(
    ("objective", "base", "left"),
    [
        ("reg:squarederror", "[3]", 4.0),
        ("reg:logistic", "[0.8]", 0.9157763),  # sigmoid of 1 + log(4)
        ("binary:logitraw", "[0.8]", 1.8),
        ("count:poisson", "[2]", 5.4365635),
        ("survival:aft", "[2]", 5.4365635),
    ],
)
def test_base_score_goes_back_through_the_link(objective: str, base: str, left: float) -> None:
    assert column(xgboost(objective, base), [0]) == pytest.approx([left], rel=1e-6)


def test_an_unknown_objective_of_xgboost_is_no_guess() -> None:
    with pytest.raises(ConversionError, match="XGBoost's objective 'reg:novel' has no known link"):
        xgboost("reg:novel")


def test_vectors_of_leaves_are_found_where_either_version_keeps_them() -> None:
    shape = {"tree_param": {"size_leaf_vector": "2"}}
    newer = xgboost(**shape, leaf_weights=[1, 2, 3, 4], right_children=[2, 0, 1]).trees[0]
    older = xgboost(**shape, base_weights=[0, 0, 1, 2, 3, 4]).trees[0]
    assert newer.values[1:].tolist() == older.values[1:].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("attributes", "rounds"),
    [
        ({"best_iteration": "4", "scikit_learn": "{}"}, 5),  # XGBClassifier.save_model, which predicts with 5 itself
        ({"best_iteration": "4"}, 0),  # Booster.save_model, whose predict takes all
        ({"scikit_learn": "{}"}, 0),
    ],
)
def test_early_stopping_counts_for_files_of_the_scikit_learn_interface(attributes: dict[str, str], rounds: int) -> None:
    learner = {
        "attributes": attributes,
        "objective": {"name": "reg:squarederror"},
        "learner_model_param": {"num_feature": "2", "num_class": "0", "base_score": "[0]"},
        "gradient_booster": {"name": "gbtree", "model": {"trees": []}},
    }
    assert XGBoostJson(json.dumps({"learner": learner}).encode()).rounds == rounds


def catboost(treatment: str, **parts: Any) -> bytes:
    names = ("feature_index", "flat_feature_index")
    floats = [{**dict.fromkeys(names, index), "nan_value_treatment": treatment} for index in range(2)]
    document = {"features_info": {"float_features": floats}, "scale_and_bias": [2, [10]], **parts}
    return json.dumps(document).encode()


def split(feature: int, border: float) -> dict[str, Any]:
    return {"split_type": "FloatFeature", "float_feature_index": feature, "border": border}


@pytest.mark.parametrize(("treatment", "missing"), [("AsIs", 12.0), ("AsFalse", 12.0), ("AsTrue", 14.0)])
def test_oblivious_trees_count_their_splits_as_bits(treatment: str, missing: float) -> None:
    tree = {"splits": [split(0, 0.5), split(1, 1.5)], "leaf_values": [1, 2, 3, 4]}
    model = read_catboost(catboost(treatment, oblivious_trees=[tree]), "RMSE", None, 0.5)
    assert answers(model, [[0, 0], [1, 0], [0, 2], [1, 2], [0.5, 1.5]])["output"] == [[12], [14], [16], [18], [12]]
    assert answers(model, [[NAN, 0]])["output"] == [[missing]]


def test_nested_trees_of_catboost() -> None:
    inner = {"split": split(1, 1.5), "left": {"value": 2}, "right": {"value": 3}}
    tree = {"split": split(0, 0.5), "left": {"value": 1}, "right": inner}
    model = read_catboost(catboost("AsIs", trees=[tree]), "Poisson", None, 0.5)
    assert model.link is Link.EXP
    expected = np.exp([12.0, 14.0, 16.0])
    assert np.ravel(answers(model, [[0, 5], [1, 0], [1, 2]])["output"]) == pytest.approx(expected, rel=1e-6)


def test_names_of_classes_and_their_threshold_are_kept() -> None:
    tree = {"splits": [split(0, 0.5)], "leaf_values": [-4.4, -4.6]}  # scores 1.2 and 0.8: 0.77 and 0.69
    labels = np.array(["no", "yes"], dtype=object)
    model = read_catboost(catboost("AsIs", oblivious_trees=[tree]), "Logloss", labels, 0.7)
    assert answers(model, [[0, 0], [1, 0]])["label"] == ["yes", "no"]


def test_a_split_by_something_else_is_refused() -> None:
    tree = {"splits": [{"split_type": "OnlineCtr"}], "leaf_values": [1, 2]}
    with pytest.raises(ConversionError, match="splits by OnlineCtr, of which ONNX has no operator"):
        read_catboost(catboost("AsIs", oblivious_trees=[tree]), "RMSE", None, 0.5)
