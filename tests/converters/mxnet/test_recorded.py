"""Every recorded model: what MXNet 1.9.1 answered, at both batch sizes where two were recorded."""

from pathlib import Path

import pytest

from tests.converters.mxnet.recorded import case_names, load_case, run_interpreted, run_translated, unpack, worst_error

RTOL = 1e-4
"""Of the output's scale; integers are equal."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("recorded"))


@pytest.mark.parametrize("name", case_names())
def test_translated_model_answers_as_mxnet_did(name: str, recorded: Path) -> None:
    case = load_case(recorded / f"{name}-symbol.json")
    errors = [worst_error(expected, got) for expected, got in run_translated(case)]
    assert errors
    assert max(errors) < RTOL


@pytest.mark.parametrize("name", case_names())
def test_numpy_operators_answer_as_mxnet_did(name: str, recorded: Path) -> None:
    case = load_case(recorded / f"{name}-symbol.json")
    errors = [worst_error(expected, got) for expected, got in run_interpreted(case)]
    assert errors
    assert max(errors) < RTOL
