"""Every source of the tables: built and answered by its own framework, converted, loaded by the runtime that would
serve it, and compared with the recorded answers. What each is to become (ONNX, native, refused) is in the tables."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from converters.base import ConversionOptions, detect, load_converter
from converters.pipeline import ConversionRequest, Converted, convert_source
from converters.publish import manifest_of
from model_store.datatypes import is_floating
from model_store.errors import OnegateError
from serve.runtimes.base import Runtime, load_runtime
from tests.sources.registry import ESTIMATORS, SOURCES
from tests.sources.table import Built, Call, SourceCase

pytestmark = pytest.mark.filterwarnings("ignore")
# Frameworks warn of what they do to themselves; a source's own test is what comes out.


def convert(case: SourceCase, source: Path, workdir: Path) -> Converted:
    options = ConversionOptions(**case.options)
    converter = detect(source, options.framework, trust=options.trust)
    assert converter.framework == case.framework
    workdir.mkdir()
    request = ConversionRequest(
        framework=converter.framework, source=str(source.resolve()), workdir=str(workdir), options=options
    )
    return convert_source(request, lambda _: None)


def as_served(case: SourceCase, source: Path, converted: Converted) -> Runtime:
    main = next(iter(converted.files.items()))
    folder = Path(main[1].removesuffix(main[0]))
    options = ConversionOptions(**case.options)
    manifest = manifest_of("model", "", source, "", load_converter(case.framework), options, converted)
    return load_runtime(folder, manifest, threads=1)


def assert_equal(call: Call, answers: dict[str, np.ndarray], rtol: float) -> None:
    assert set(answers) == set(call.outputs)
    for name, expected in call.outputs.items():
        answer = np.asarray(answers[name])
        assert answer.shape == expected.shape, name
        if not is_floating(answer.dtype):
            assert answer.tolist() == expected.tolist(), name
            continue
        wide, wanted = answer.astype(np.float64), expected.astype(np.float64)
        finite = np.isfinite(wanted)
        assert np.array_equal(wide[~finite], wanted[~finite], equal_nan=True), name
        scale = np.abs(wanted[finite]).max(initial=0)
        np.testing.assert_allclose(wide[finite], wanted[finite], rtol=0, atol=rtol * scale, err_msg=name)


def calls_to_try(built: Built, converted: Converted) -> list[Call]:
    """The recorded calls. A source that knows one batch only has answers at that one; the version, which takes any
    number of rows, must give them row by row, and all of them together."""
    calls = list(built.calls)
    signature = converted.signatures[converted.default_signature]
    sizes = {tuple(array.shape[:1] for array in call.inputs.values()) for call in calls}
    if len(sizes) > 1 or any(spec.shape[:1] != (-1,) for spec in (*signature.inputs, *signature.outputs)):
        return calls
    assert converted.parity.row_independent, "answers at one batch size only"
    every = Call(
        {name: np.concatenate([call.inputs[name] for call in calls] * 2) for name in calls[0].inputs},
        {name: np.concatenate([call.outputs[name] for call in calls] * 2) for name in calls[0].outputs},
    )
    first = Call({n: rows[:1] for n, rows in every.inputs.items()}, {n: rows[:1] for n, rows in every.outputs.items()})
    return [*calls, every, first]


def check(case: SourceCase, tmp_path: Path) -> None:
    (tmp_path / "built").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built: Built = case.build(tmp_path / "built")
        if case.expect == "refused":
            with pytest.raises(OnegateError) as refusal:
                convert(case, built.source, tmp_path / "work")
            assert re.search(case.reason, refusal.value.message), refusal.value.message
            assert "\n" not in refusal.value.message
            return
        converted = convert(case, built.source, tmp_path / "work")
        assert ("onnx" if converted.runtime == "onnx" else "native") == case.expect, converted.reason
        if case.expect == "native":
            assert re.search(case.reason, converted.reason or ""), converted.reason
        runtime = as_served(case, built.source, converted)
        for call in calls_to_try(built, converted):
            assert_equal(call, runtime.run(dict(call.inputs), call.signature), case.rtol)


@pytest.mark.parametrize("case", SOURCES, ids=lambda case: case.name)
def test_a_source_becomes_what_the_table_says_and_answers_as_its_framework(case: SourceCase, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("case", ESTIMATORS, ids=lambda case: case.name)
def test_an_estimator_becomes_what_the_table_says_and_answers_as_scikit_learn(case: SourceCase, tmp_path: Path) -> None:
    check(case, tmp_path)


EXPORTS = [case for case in SOURCES if case.framework != "mxnet"]
RECORDED = [case for case in SOURCES if case.framework == "mxnet" and case.expect != "refused"]


@pytest.mark.parametrize("table", [EXPORTS, ESTIMATORS], ids=["exports", "estimators"])
def test_nine_in_ten_are_served_as_onnx(table: list[SourceCase]) -> None:
    assert len(table) >= 120
    assert sum(case.expect == "onnx" for case in table) >= 0.9 * len(table)


def test_recorded_models_of_mxnet_are_all_there_and_97_in_100_are_onnx() -> None:
    named = [case for case in SOURCES if case.framework == "mxnet" and "answers" in case.kind]
    assert len(named) == 233 + 47
    assert sum(case.expect == "onnx" for case in RECORDED) >= 0.97 * 304


def test_names_are_unique_and_what_is_not_onnx_is_explained() -> None:
    table = [*SOURCES, *ESTIMATORS]
    assert len({case.name for case in table}) == len(table)
    assert [case.name for case in table if case.expect != "onnx" and not (case.remark and case.reason)] == []
