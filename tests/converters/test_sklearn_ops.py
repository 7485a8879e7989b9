"""The translations of scikit-learn's estimators: what the table of estimators (`tests/sources`) does not show."""

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from converters.sklearn.estimators import input_range, probes, vet_trees
from converters.sklearn.ops.encoders import category_index
from converters.sklearn.ops.gaussian_process import error_function
from converters.sklearn.ops.graph import Graph, Value
from converters.sklearn.ops.interpolation import interpolate
from converters.sklearn.ops.linear_algebra import solve_positive
from converters.sklearn.ops.quantiles import normal_quantile
from converters.sklearn.ops.registry import NotTranslated, translates
from converters.sklearn.ops.table import column_indices
from converters.sklearn.outputs import outputs, whole_numbers
from converters.sklearn.skops_types import allowed, called_names, vet_types
from model_store.errors import ConversionError, SourceError, TrustRequired
from tests.sources.sklearn_estimators import WITHOUT_ANSWERS, rows_of_each

Write = Callable[[Graph, Value], Value]


class Paper:
    """What a `Graph` writes on, without skl2onnx: names, nodes, constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._count = 0

    def get_unique_variable_name(self, seed: str) -> str:
        self._count += 1
        return f"{seed}_{self._count}"

    get_unique_operator_name = get_unique_variable_name

    def add_node(
        self, op_type: str, inputs: list[str], outputs: list[str], *, op_domain: str, op_version: int, **rest: Any
    ) -> None:
        self.nodes.append(onnx.helper.make_node(op_type, inputs, outputs, domain=op_domain, **rest))


def computed(write: Write, rows: Any, dtype: Any = np.float64) -> np.ndarray:
    """What ONNX Runtime makes of `rows` by what `write` writes."""
    given = np.asarray(rows, dtype)
    paper = Paper()
    result = write(Graph(paper, paper), Value(Graph(paper, paper), "x", given.dtype))
    kind = onnx.helper.np_dtype_to_tensor_dtype(given.dtype)
    graph = onnx.helper.make_graph(
        paper.nodes,
        "graph",
        [onnx.helper.make_tensor_value_info("x", kind, [None] * given.ndim)],
        [onnx.helper.make_tensor_value_info(result.name, onnx.helper.np_dtype_to_tensor_dtype(result.dtype), None)],
        paper.initializers,
    )
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": given})[0])


def test_every_estimator_that_predicts_or_transforms_has_two_rows() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sklearn.experimental import enable_halving_search_cv, enable_iterative_imputer  # noqa: F401
        from sklearn.utils import all_estimators

        known = dict(all_estimators())
    rows = rows_of_each()
    assert [name for name in known if name not in WITHOUT_ANSWERS and rows[name] < 2] == []
    assert set(known) >= set(WITHOUT_ANSWERS)


@pytest.mark.parametrize("name", sorted(WITHOUT_ANSWERS))
def test_those_left_out_have_neither_predict_nor_transform(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sklearn.utils import all_estimators

        kind = dict(all_estimators())[name]
    assert not hasattr(kind, "predict")
    assert not callable(getattr(kind, "transform", None))


def test_every_file_of_translations_is_a_family() -> None:
    from converters.sklearn import ops

    folder = Path(ops.__file__).parent
    files = [path.stem for path in sorted(folder.glob("*.py")) if "\n@translates(" in path.read_text()]
    assert list(ops.FAMILIES) == files


def test_an_estimator_is_translated_once() -> None:
    import converters.sklearn.ops.linear  # noqa: F401

    register = translates("predict", "Ridge")
    with pytest.raises(ValueError, match=r"^Ridge\.predict is translated twice$"):
        register(lambda g, est, x: x)


def test_arithmetic_reads_like_numpy() -> None:
    array = np.array([[1.0, -2.0]])
    assert computed(lambda g, x: array - x * 2.0, [[3.0, 4.0]]).tolist() == [[-5.0, -10.0]]
    assert computed(lambda g, x: 1.0 / x, [[4.0]]).tolist() == [[0.25]]
    assert computed(lambda g, x: x @ np.eye(2) * array, [[3.0, 4.0]]).tolist() == [[3.0, -8.0]]
    assert computed(lambda g, x: g.sigmoid(x), [[0.0, 800.0, -800.0]]).tolist() == [[0.5, 1.0, 0.0]]
    assert computed(lambda g, x: x.clip(0.0, 1.0), [[-1.0, 0.5, np.nan]]).tolist()[0][:2] == [0.0, 0.5]
    assert computed(lambda g, x: x.rounded(), [[0.1]]).tolist() == [[float(np.float32(0.1))]]


def test_error_function_keeps_its_digits() -> None:
    known = [[0.0, 0.0], [0.5, 0.5204998778130465], [-1.0, -0.8427007929497149], [2.5, 0.999593047982555], [9.0, 1.0]]
    given, expected = np.array(known)[:, :1], np.array(known)[:, 1:]
    np.testing.assert_allclose(computed(lambda g, x: error_function(g, x), given), expected, rtol=0, atol=1e-14)


def test_normal_quantile_keeps_its_digits() -> None:
    known = [[0.5, 0.0], [0.975, 1.959963984540054], [1e-10, -6.361340902404056], [0.3, -0.5244005127080409]]
    given, expected = np.array(known)[:, :1], np.array(known)[:, 1:]
    np.testing.assert_allclose(computed(lambda g, x: normal_quantile(g, x), given), expected, rtol=1e-14, atol=1e-15)
    assert computed(lambda g, x: normal_quantile(g, x), [[0.0], [1.0]]).ravel().tolist() == [-np.inf, np.inf]


def test_interpolation_is_numpy_s() -> None:
    xs, ys = np.array([0.0, 1.0, 1.0, 3.0]), np.array([5.0, 6.0, 8.0, 0.0])
    given = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 9.0])
    answer = computed(lambda g, x: interpolate(g, x, xs, ys), given[:, None])
    assert answer.ravel().tolist() == np.interp(given, xs, ys).tolist() == [5.0, 5.0, 5.5, 8.0, 4.0, 0.0, 0.0]


def test_a_small_system_is_solved_for_each_row() -> None:
    def write(g: Graph, x: Value) -> Value:
        return solve_positive(g, x, g.constant(np.array([[1.0, 2.0], [1.0, 2.0]])), 2)

    matrices = [[[4.0, 1.0], [1.0, 3.0]], [[2.0, 0.0], [0.0, 5.0]]]
    expected = [[1 / 11, 7 / 11], [0.5, 0.4]]
    np.testing.assert_allclose(computed(write, matrices), expected, rtol=1e-14)


def test_a_large_system_is_not_written_out() -> None:
    with pytest.raises(NotTranslated, match="a linear system of 33 unknowns for every row"):
        solve_positive(None, None, None, 33)  # type: ignore[arg-type]


def test_categories_are_found_by_number_and_by_text() -> None:
    found = computed(lambda g, x: category_index(g, x, np.array([2.0, 5.0, np.nan])), [[5.0], [np.nan], [4.0]])
    assert found.tolist() == [[1], [2], [-1]]
    texts = computed(lambda g, x: category_index(g, x, np.array(["a", "b"], object)), [["b"], ["c"]], object)
    assert texts.tolist() == [[1], [-1]]


def test_an_unknown_category_is_an_error_where_the_encoder_says_so() -> None:
    from sklearn.preprocessing import OrdinalEncoder

    from converters.sklearn.ops import register
    from converters.sklearn.ops.registry import call

    encoder = OrdinalEncoder().fit(np.array([[1.0], [2.0]]))
    assert register(encoder)
    assert computed(lambda g, x: call(g, encoder, "transform", x), [[2.0], [1.0]]).tolist() == [[1.0], [0.0]]
    with pytest.raises(Exception, match="out of data bounds"):
        computed(lambda g, x: call(g, encoder, "transform", x), [[2.0], [7.0]])


def test_columns_are_chosen_in_every_way_that_scikit_learn_knows() -> None:
    names = ["a", "b", "c"]
    for chosen, expected in [
        ("b", [1]),
        (["c", "a"], [2, 0]),
        (slice("a", "b"), [0, 1]),
        (slice(1, None), [1, 2]),
        ([-1], [2]),
        (np.array([True, False, True]), [0, 2]),
    ]:
        assert column_indices(chosen, names, 3) == expected


class Fitted:
    """Stands for an estimator whose outputs are asked for."""

    def __init__(self, kind: str, **attributes: Any) -> None:
        self._kind = kind
        self.__dict__.update(attributes)

    def __sklearn_tags__(self) -> Any:
        return SimpleNamespace(estimator_type=self._kind)


def test_a_classifier_of_several_targets_gives_probabilities_for_each() -> None:
    def answer(_: Any) -> None: ...

    classes = [np.array([0, 1]), np.array(["a", "b", "c"])]
    several = Fitted("classifier", classes_=classes, predict=answer, predict_proba=answer)
    assert [(each.name, each.part) for each in outputs(several)] == [
        ("label", None),
        ("probabilities_0", 0),
        ("probabilities_1", 1),
    ]
    chain = Fitted("classifier", classes_=classes, order_=[0, 1], predict=answer, predict_proba=answer)
    assert [each.name for each in outputs(chain)] == ["label", "probabilities"]
    assert [each.name for each in outputs(Fitted("clusterer", transform=answer))] == ["output"]
    assert [each.name for each in outputs(Fitted("clusterer", predict=answer))] == ["label"]
    with pytest.raises(ConversionError, match="Fitted neither predicts nor transforms"):
        outputs(Fitted("clusterer"))


def test_labels_are_whole_numbers_or_text() -> None:
    assert whole_numbers(np.array([1.0, 2.0])).dtype == np.int64
    assert whole_numbers(np.array([True])).tolist() == [1]
    assert whole_numbers(np.array(["a"])).tolist() == ["a"]
    assert whole_numbers(np.array([0.5])).tolist() == [0.5]


@pytest.mark.parametrize(
    "name",
    [
        "numpy.mean",
        "sklearn.utils.validation.check_array",
        "sklearn.metrics._classification.f1_score",
        "sklearn.cluster._kmeans._kmeans_single_lloyd",
    ],
)
def test_a_function_may_be_held_and_not_called(name: str) -> None:
    assert allowed(name, called=False)
    assert not allowed(name)


@pytest.mark.parametrize(
    "name", ["numpy.load", "sklearn.metrics._ranking.partial", "scipy.stats._distn_infrastructure.rv_continuous_frozen"]
)
def test_other_functions_may_not_be_held(name: str) -> None:
    assert not allowed(name, called=False)


def skops_file(path: Path, schema: dict[str, Any]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("schema.json", json.dumps({**schema, "protocol": 2, "_skops_version": "0.16.0"}))
    return path


def function(module: str, name: str, **more: Any) -> dict[str, Any]:
    return {"__class__": name, "__module__": module, "__loader__": "FunctionNode", "__id__": 1, **more}


def test_a_function_that_loading_would_call_is_refused(tmp_path: Path) -> None:
    nothing = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "__id__": 2, "content": []}
    held = skops_file(tmp_path / "held.skops", function("numpy", "mean"))
    assert vet_types(held, trust=False) in (["numpy.mean"], [])
    called = skops_file(
        tmp_path / "called.skops",
        function("numpy", "mean") | {"__loader__": "ConstructorFromReduceNode", "content": nothing},
    )
    assert called_names(called) == {"numpy.mean", "builtins.tuple"}
    with pytest.raises(TrustRequired, match=r"'called\.skops' names numpy\.mean, which could run code"):
        vet_types(called, trust=False)


def boosted(**changed: Any) -> Fitted:
    """HistGradientBoosting with one tree of three nodes."""
    nodes = np.zeros(
        3,
        dtype=[
            ("left", np.uint32),
            ("right", np.uint32),
            ("feature_idx", np.intp),
            ("num_threshold", np.float64),
            ("is_leaf", np.uint8),
            ("is_categorical", np.uint8),
            ("bitset_idx", np.uint32),
        ],
    )
    nodes["is_leaf"] = [0, 1, 1]
    nodes[0]["left"], nodes[0]["right"] = 1, 2
    nodes[0]["num_threshold"] = 0.1
    for name, value in changed.items():
        nodes[0][name] = value
    predictor = SimpleNamespace(nodes=nodes, raw_left_cat_bitsets=np.zeros((0, 8), np.uint32))
    mapper = SimpleNamespace(is_categorical_=np.array([False, True]))
    return Fitted("regressor", _predictors=[[predictor]], n_features_in_=2, _bin_mapper=mapper)


def test_sound_boosted_trees_pass_and_tell_their_thresholds() -> None:
    model = boosted()
    vet_trees(model)
    rows = probes(model, np.float64)
    assert rows is not None
    assert {0.1, float(np.nextafter(0.1, 1)), float(np.nextafter(0.1, 0))} == set(rows[:, 0].tolist())


@pytest.mark.parametrize(
    "changed",
    [{"left": 9}, {"right": 0}, {"feature_idx": 2}, {"feature_idx": -1}, {"is_categorical": 1, "feature_idx": 1}],
)
def test_boosted_trees_that_lead_outside_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"decision tree .* damaged"):
        vet_trees(boosted(**changed))


def test_trees_must_take_what_their_forest_hands_over() -> None:
    from sklearn.ensemble import IsolationForest, RandomForestRegressor

    rows = np.random.default_rng(0).normal(size=(20, 4))
    forest = RandomForestRegressor(3).fit(rows, rows[:, 0])
    vet_trees(forest)
    forest.estimators_[1] = RandomForestRegressor(1).fit(np.hstack([rows, rows]), rows[:, 0]).estimators_[0]
    with pytest.raises(SourceError, match="asks for columns it does not have"):
        vet_trees(forest)
    isolation = IsolationForest(n_estimators=2, max_features=3).fit(rows)
    vet_trees(isolation)
    isolation.estimators_features_[0] = [0]
    with pytest.raises(SourceError, match="asks for columns it does not have"):
        vet_trees(isolation)


class BSpline(SimpleNamespace):
    """Has the name that SciPy's has."""


def test_splines_need_all_their_coefficients() -> None:
    knots = np.arange(8.0)
    vet_trees([BSpline(t=knots, c=np.zeros((4, 2)), k=3)])
    for bad in (
        BSpline(t=knots, c=np.zeros((3, 2)), k=3),
        BSpline(t=knots, c=np.zeros((8, 2)), k=-1),
        BSpline(t=knots[::-1], c=np.zeros((4, 2)), k=3),
    ):
        with pytest.raises(SourceError, match="spline whose knots and coefficients do not fit"):
            vet_trees([bad])


def test_ranges_keep_to_what_the_estimator_takes() -> None:
    kinds = {"NMF": {}, "SkewedChi2Sampler": {"skewedness": 0.5}, "CategoricalNB": {"n_categories_": np.array([3, 2])}}
    made = {name: type(name, (), attributes)() for name, attributes in kinds.items()}
    assert input_range(made["NMF"]) == (0.0, 6.0)
    assert input_range(made["SkewedChi2Sampler"]) == (0.01 - 0.5, 6.0)
    low, high = input_range(made["CategoricalNB"]) or (0, 0)
    assert np.asarray(low).tolist() == [0, 0]
    assert np.asarray(high).tolist() == [2.99, 1.99]


@pytest.mark.parametrize(
    ("estimator", "settings", "reason"),
    [
        ("neighbors.KNeighborsRegressor", {"weights": np.sqrt}, "weights that are a Python function"),
        ("neighbors.KNeighborsRegressor", {"metric": "canberra"}, "the distance 'canberra'"),
        ("kernel_ridge.KernelRidge", {"kernel": np.dot}, "a kernel that is a Python function"),
        ("svm.SVR", {"kernel": np.dot}, "a kernel that is a Python function"),
    ],
)
def test_what_has_no_translation_says_why(estimator: str, settings: dict[str, Any], reason: str) -> None:
    from tests.sources.sklearn_cases import of

    with pytest.raises(NotTranslated, match=reason):
        _translate(of(estimator, **settings).make())


def _translate(estimator: Any) -> np.ndarray:
    from converters.sklearn.ops import register
    from converters.sklearn.ops.registry import call

    rows = np.random.default_rng(0).normal(size=(8, 8))
    fitted = estimator.fit(rows @ rows.T, rows[:, 0])
    assert register(fitted)
    return computed(lambda g, x: call(g, fitted, "predict", x), rows @ rows.T)
