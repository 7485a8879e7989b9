"""What is read as a scikit-learn model, and what is refused; nothing that a source carries runs unasked."""

import bz2
import gzip
import lzma
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV

from converters.base import detect
from converters.sklearn.reading import is_estimator_pickle, load_estimator
from model_store.errors import SourceError, TrustRequired

ROWS = np.arange(24.0).reshape(12, 2)
CLASSES = np.arange(12) % 2


def fitted() -> LogisticRegression:
    return LogisticRegression().fit(ROWS, CLASSES)


class Touches:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_any_protocol_is_recognised(tmp_path: Path, protocol: int) -> None:
    source = written(tmp_path / "model", pickle.dumps(fitted(), protocol=protocol))
    assert detect(source, trust=True).framework == "sklearn"
    assert isinstance(load_estimator(source, trust=True), LogisticRegression)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_compressed_pickle_is_recognised(tmp_path: Path, compression: str) -> None:
    source = written(tmp_path / "model", COMPRESSIONS[compression](pickle.dumps(fitted())))
    assert is_estimator_pickle(source)
    assert isinstance(load_estimator(source, trust=True), LogisticRegression)


def test_what_joblib_writes_is_recognised(tmp_path: Path) -> None:
    joblib.dump(fitted(), tmp_path / "model", compress=("zlib", 3))
    assert detect(tmp_path / "model", trust=True).framework == "sklearn"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_pickle_without_trust_is_refused_and_runs_nothing(tmp_path: Path, compression: str) -> None:
    source = written(tmp_path / "m.pkl", COMPRESSIONS[compression](pickle.dumps(Touches(tmp_path / "ran"))))
    with pytest.raises(TrustRequired, match=r"'m\.pkl' is a pickle: loading it runs code .* `trust: true`"):
        load_estimator(source, trust=False)
    is_estimator_pickle(source)
    assert not (tmp_path / "ran").exists()


def test_a_torch_module_and_a_keras_pickle_are_not_scikit_learn_s(tmp_path: Path) -> None:
    assert not is_estimator_pickle(written(tmp_path / "a", b"\x80\x02ctorch.nn.modules.linear\nLinear\n."))
    assert not is_estimator_pickle(written(tmp_path / "b", b"\x80\x02ckeras.models\nModel\n."))
    assert not is_estimator_pickle(
        written(tmp_path / "d", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.")
    )
    assert not is_estimator_pickle(written(tmp_path / "c", b"tree\nversion=v4\n"))
    assert not is_estimator_pickle(tmp_path)


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        ({"model": 1, "columns": 2}, "a dict with the keys 'model', 'columns'"),
        ([LinearRegression(), 0.5], "a list of LinearRegression, float"),
        (np.zeros(3), "an object of type numpy.ndarray"),
    ],
)
def test_a_pickle_of_something_else_is_told(tmp_path: Path, thing: Any, told: str) -> None:
    source = written(tmp_path / "m.pkl", pickle.dumps(thing))
    with pytest.raises(SourceError, match="expected one fitted estimator or pipeline") as refusal:
        load_estimator(source, trust=True)
    assert f"'m.pkl' holds {told};" in refusal.value.message


def test_a_booster_is_to_be_saved_by_its_library(tmp_path: Path) -> None:
    import xgboost

    booster = xgboost.train({"max_depth": 1}, xgboost.DMatrix(ROWS, CLASSES), 1)
    source = written(tmp_path / "m.pkl", pickle.dumps(booster))
    with pytest.raises(SourceError, match=r"an object of type xgboost\.core\.Booster; save it with its own save_model"):
        load_estimator(source, trust=True)


def test_prediction_stays_in_the_calling_thread(tmp_path: Path) -> None:
    source = written(tmp_path / "m", pickle.dumps(RandomForestClassifier(2, n_jobs=4).fit(ROWS, CLASSES)))
    assert load_estimator(source, trust=True).n_jobs == 1


def test_an_estimator_that_was_never_fitted_is_told(tmp_path: Path) -> None:
    skops.io.dump(LogisticRegression(), tmp_path / "m.skops")
    with pytest.raises(SourceError, match=r"'m\.skops': LogisticRegression was saved before it was fitted"):
        load_estimator(tmp_path / "m.skops", trust=False)


def test_of_a_search_the_best_estimator_is_taken(tmp_path: Path) -> None:
    search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(ROWS, CLASSES)
    source = written(tmp_path / "m", pickle.dumps(search))
    assert search.best_params_["C"] == load_estimator(source, trust=True).C


def own_class(module: ModuleType) -> type:
    kind = type("Own", (BaseEstimator,), {"__module__": module.__name__, "predict": len, "n_features_in_": 1})
    module.Own = kind  # type: ignore[attr-defined]
    return kind


def test_a_module_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("training_code")
    monkeypatch.setitem(sys.modules, "training_code", module)
    source = written(tmp_path / "m.pkl", pickle.dumps(own_class(module)()))
    monkeypatch.delitem(sys.modules, "training_code")
    assert detect(source, trust=True).framework == "sklearn"
    with pytest.raises(SourceError, match="needs the module 'training_code', which can't be imported here: install it"):
        load_estimator(source, trust=True)


def test_a_module_of_an_older_scikit_learn_is_told(tmp_path: Path) -> None:
    source = written(tmp_path / "m.pkl", b"\x80\x02csklearn.ensemble.forest\nRandomForestClassifier\n)\x81.")
    with pytest.raises(
        SourceError, match=r"which sklearn 1\.\S+ here does not have: load it with the version that saved"
    ):
        load_estimator(source, trust=True)


def test_a_class_of_a_notebook_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = own_class(sys.modules["__main__"])
    source = written(tmp_path / "m.pkl", pickle.dumps(kind()))
    monkeypatch.delattr(sys.modules["__main__"], "Own")
    with pytest.raises(SourceError, match="has to move into an importable module before the model is saved"):
        load_estimator(source, trust=True)


def test_a_pickle_that_is_cut_off_is_told_in_one_line(tmp_path: Path) -> None:
    source = written(tmp_path / "m.pkl", pickle.dumps(fitted())[:-20])
    with pytest.raises(SourceError, match=r"'m\.pkl' can't be unpickled: ") as refusal:
        load_estimator(source, trust=True)
    assert "\n" not in refusal.value.message


def test_a_skops_file_that_names_os_system_runs_nothing(tmp_path: Path, call_on_load: Callable[..., Path]) -> None:
    source = call_on_load(tmp_path / "m.skops", "os", "system", f"touch {tmp_path}/ran")
    with pytest.raises(TrustRequired, match=r"names os\.system"):
        load_estimator(source, trust=False)
    assert not (tmp_path / "ran").exists()
