from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from converters.publish import Published
from converters.sklearn.estimators import input_range, steps, vet_trees
from converters.sklearn.skops_types import allowed
from model_store.errors import SourceError, TrustRequired

Exports = Callable[[str], Path]
Publish = Callable[..., Published]


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("pipeline", {"label": ("BYTES", (-1,)), "probabilities": ("FP32", (-1, 3))}),
        ("forest", {"label": ("INT64", (-1,)), "probabilities": ("FP32", (-1, 3))}),
        ("line", {"output": ("FP32", (-1, 2))}),
    ],
)
def test_answers_are_the_estimator_s(
    exports: Exports,
    publish: Publish,
    answers: Callable[..., dict[str, np.ndarray]],
    record: Callable[[Path], Any],
    name: str,
    outputs: dict[str, tuple[str, tuple[int, ...]]],
) -> None:
    folder = exports("sklearn")
    published = publish(folder / f"{name}.skops")
    signature = published.manifest.signatures["serving_default"]
    assert [(spec.name, spec.datatype, spec.shape) for spec in signature.inputs] == [("input", "FP32", (-1, 5))]
    assert {spec.name: (spec.datatype, spec.shape) for spec in signature.outputs} == outputs
    assert published.manifest.row_independent
    inputs, expected = record(folder / f"{name}.npz")
    got = answers(published, inputs)
    for output, array in expected.items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(got[output], array, rtol=1e-4, atol=1e-6)
        else:
            assert got[output].tolist() == array.tolist()


def test_names_of_classes_are_kept(exports: Exports, publish: Publish) -> None:
    published = publish(exports("sklearn") / "pipeline.skops")
    assert published.manifest.labels == ("blue", "green", "red")


def test_fp64_is_taken_where_fp32_fails(
    exports: Exports,
    publish: Publish,
    answers: Callable[..., dict[str, np.ndarray]],
    record: Callable[[Path], Any],
) -> None:
    """KMeans trained on float64 takes no float32 in scikit-learn itself."""
    folder = exports("sklearn")
    published = publish(folder / "clusters.skops")
    (spec,) = published.manifest.signatures["serving_default"].inputs
    assert (spec.datatype, spec.shape) == ("FP64", (-1, 5))
    inputs, expected = record(folder / "clusters.npz")
    got = answers(published, inputs)
    assert got["label"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(got["scores"], expected["scores"], rtol=1e-5)


def test_os_system_is_refused_by_name_and_does_not_run(
    tmp_path: Path, call_on_load: Callable[..., Path], publish: Publish
) -> None:
    source = call_on_load(tmp_path / "m.skops", "os", "system", f"touch {tmp_path}/ran")
    with pytest.raises(TrustRequired, match=r"'m\.skops' names os\.system, which could run code; .* `trust: true`"):
        publish(source)
    assert not (tmp_path / "ran").exists()


def test_with_trust_the_file_decides(tmp_path: Path, call_on_load: Callable[..., Path], publish: Publish) -> None:
    source = call_on_load(tmp_path / "m.skops", "os", "system", f"touch {tmp_path}/ran")
    with pytest.raises(SourceError, match=r"'m\.skops' holds an object of type builtins\.int; expected one fitted"):
        publish(source, trust=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["sklearn.tree._tree.Tree", "sklearn._loss._loss.CyHalfBinomialLoss"])
def test_parts_of_scikit_learn_are_allowed(name: str) -> None:
    assert allowed(name)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "posix.system",
        "builtins.eval",
        "sklearn.utils._testing.check_output",
        "sklearn.tree._tree.Tree.evil",
        "numpy.load",
        "scipy.io.loadmat",
        "evil.sklearn._loss._loss.CyHalf",
    ],
)
def test_everything_else_is_not(name: str) -> None:
    assert not allowed(name)


def tree(left: list[int], right: list[int], feature: list[int]) -> SimpleNamespace:
    return SimpleNamespace(
        node_count=len(left),
        children_left=np.array(left),
        children_right=np.array(right),
        feature=np.array(feature),
        threshold=np.zeros(len(left)),
        n_features=3,
    )


def test_a_sound_tree_passes() -> None:
    vet_trees([tree([1, -1, -1], [2, -1, -1], [2, -2, -2])])


@pytest.mark.parametrize(
    "bad",
    [
        tree([1, -1, -1], [9, -1, -1], [2, -2, -2]),
        tree([0, -1, -1], [2, -1, -1], [2, -2, -2]),
        tree([1, -1, -1], [-5, -1, -1], [2, -2, -2]),
        tree([1, -1, -1], [2, -1, -1], [3, -2, -2]),
        tree([1, -1, -1], [-1, -1, -1], [1, -2, -2]),
    ],
)
def test_a_tree_that_leads_outside_is_refused(bad: SimpleNamespace) -> None:
    with pytest.raises(SourceError, match=r"decision tree .* damaged"):
        vet_trees([bad])


def test_a_scaler_in_front_tells_the_range() -> None:
    scaler = SimpleNamespace(mean_=np.array([10.0, 0.0]), scale_=np.array([2.0, 1.0]))
    pipeline = SimpleNamespace(steps=[("a", "passthrough"), ("b", SimpleNamespace(steps=[("c", scaler)]))])
    assert steps(pipeline) == [scaler]
    low, high = input_range(pipeline) or (0, 0)
    assert np.array_equal(low, [4, -3])
    assert np.array_equal(high, [16, 3])
