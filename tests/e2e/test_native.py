"""Models in their own frameworks, behind the same address: replicas of PyTorch, TensorFlow, scikit-learn and XGBoost,
and a model whose signatures are called by name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.e2e import exports
from tests.e2e.running import Running, running

NATIVE = {"to": "native"}
BATCHING = {"serve": {"batching": {"max_batch_size": 8}}}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("native")
    models = [
        {"name": "saved", "source": str(exports.write("savedmodel", folder / "saved")), **BATCHING},
        {
            "name": "script",
            "source": str(exports.write("torchscript", folder / "layer.ts")),
            "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}],
            "convert": NATIVE,
            **BATCHING,
        },
        {
            "name": "pickled",
            "source": str(exports.write("joblib", folder / "line.joblib")),
            "trust": True,
            "convert": NATIVE,
            **BATCHING,
        },
        {
            "name": "boosted",
            "source": str(exports.write("xgboost", folder / "step.json")),
            "convert": NATIVE,
            **BATCHING,
        },
    ]
    with running(folder, {"store": "store", "models": models}) as started:
        started.wait_until_settled()
        yield started


def infer(
    gateway: Running, model: str, name: str, rows: np.ndarray, signature: str | None = None
) -> dict[str, np.ndarray]:
    datatype = "BYTES" if rows.dtype == object else "FP32"
    with tritonclient.http.InferenceServerClient(gateway.url.removeprefix("http://")) as client:
        sent = tritonclient.http.InferInput(name, rows.shape, datatype).set_data_from_numpy(rows)
        result = client.infer(model, [sent], parameters={"signature": signature} if signature else None)
        return {each["name"]: result.as_numpy(each["name"]) for each in result.get_response()["outputs"]}


def test_each_model_runs_in_its_own_framework_on_replicas(gateway: Running) -> None:
    rows = {row["name"]: row for row in gateway.state()["models"]}
    assert {name: row["state"] for name, row in rows.items()} == dict.fromkeys(rows, "READY")
    expected = {"script": "pytorch", "pickled": "sklearn", "boosted": "boosting"}
    assert {name: rows[name]["runtime"] for name in expected} == expected
    assert {row["executor"] for name, row in rows.items() if name in expected} == {"replicas"}


def test_pytorch_answers(gateway: Running) -> None:
    answer = infer(gateway, "script", "input", np.array([[1, 1, 1, 1], [1, 0, 0, 2]], np.float32))
    assert next(iter(answer.values())).tolist() == [[10, 2], [9, 2]]


def test_scikit_learn_answers(gateway: Running) -> None:
    answer = infer(gateway, "pickled", "input", np.array([[1, 1, 1], [0, 0, 2]], np.float32))
    np.testing.assert_allclose(answer["output"], [[6], [6]], atol=1e-5)


def test_xgboost_answers_on_both_sides_of_its_threshold(gateway: Running) -> None:
    answer = infer(gateway, "boosted", "input", np.array([[0.2], [0.9]], np.float32))
    np.testing.assert_allclose(answer["output"], [[1], [2]], atol=1e-5)


def test_both_signatures_of_a_saved_model_answer(gateway: Running) -> None:
    assert infer(gateway, "saved", "x", np.array([[1, 2, 3]], np.float32))["y"].tolist() == [[2, 4, 6]]
    words = np.array([b"hello", b"World"], dtype=object)
    assert infer(gateway, "saved", "text", words, "upper")["loud"].tolist() == [b"HELLO", b"WORLD"]


def test_an_unknown_signature_is_refused_with_those_that_exist(gateway: Running) -> None:
    with pytest.raises(InferenceServerException, match="signatures: serving_default, upper"):
        infer(gateway, "saved", "x", np.array([[1, 2, 3]], np.float32), "lower")


def test_infer_of_the_command_line_calls_a_signature(gateway: Running) -> None:
    (gateway.folder / "words.json").write_text('{"text": ["abc"]}')
    done = gateway.command("infer", "saved", "--input", "words.json", "--signature", "upper")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "loud: BYTES[1] ['ABC']\n"
