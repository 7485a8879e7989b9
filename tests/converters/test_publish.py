import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters import publish as publish_module
from converters.base import ConversionOptions, load_converter
from converters.pipeline import ConversionRequest, Converted
from converters.publish import Published, conversion_key, convert_and_publish
from model_store.errors import ConfigError, ConversionError, TrustRequired
from model_store.manifest import ParityReport, Profile, Signature, TensorSpec
from model_store.store import Store


def key(**options: object) -> str:
    return conversion_key("abc", load_converter("onnx"), ConversionOptions(**options))  # type: ignore[arg-type]


def test_a_source_becomes_a_version_with_all_that_is_known_of_it(store: Store, linear_onnx: Path) -> None:
    progress: list[str] = []
    published = convert_and_publish(store, "linear", linear_onnx, ConversionOptions(), on_progress=progress.append)
    manifest = published.manifest
    assert published.converted
    assert (manifest.name, manifest.version, manifest.framework, manifest.runtime) == ("linear", 1, "onnx", "onnx")
    assert (manifest.source_name, manifest.opset, manifest.precision) == ("linear.onnx", 18, "float32")
    assert list(manifest.files) == ["model.onnx"]
    signature = manifest.signatures[manifest.default_signature]
    assert [(spec.name, spec.datatype, spec.shape) for spec in signature.inputs] == [("x", "FP32", (-1, 3))]
    assert [(spec.name, spec.datatype, spec.shape) for spec in signature.outputs] == [("y", "FP32", (-1, 2))]
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert manifest.row_independent
    assert manifest.profile is not None
    assert manifest.profile.largest_batch == 64
    assert 0 < manifest.profile.batch_one_ms < 5
    assert manifest.seconds > 0
    assert set(manifest.libraries) == {"onnx", "onnxruntime"}
    assert progress[0] == "converting from onnx"
    assert progress[-1] == "publishing"
    assert store.manifest("linear", 1) == manifest


def test_the_same_source_is_converted_once(store: Store, linear_onnx: Path) -> None:
    first = convert_and_publish(store, "linear", linear_onnx, ConversionOptions())
    second = convert_and_publish(store, "linear", linear_onnx, ConversionOptions(trust=True))
    assert (first.converted, second.converted) == (True, False)
    assert second.manifest == first.manifest
    assert store.versions("linear") == [1]


def test_other_options_make_another_version(store: Store, linear_onnx: Path) -> None:
    convert_and_publish(store, "linear", linear_onnx, ConversionOptions())
    other = convert_and_publish(store, "linear", linear_onnx, ConversionOptions(largest_batch=8))
    assert (other.converted, other.manifest.version) == (True, 2)


def test_threads_convert_the_same_thing_once(store: Store, linear_onnx: Path) -> None:
    results: list[Published] = []

    def work() -> None:
        results.append(convert_and_publish(store, "linear", linear_onnx, ConversionOptions()))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.converted for result in results) == [False, False, True]
    assert store.versions("linear") == [1]


def test_a_failed_conversion_leaves_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    # A tolerance below what float32 can hold: the gate can't be passed.
    source = Path(__file__).parent.parent.parent / "examples" / "quickstart" / "digits.pt2"
    with pytest.raises(
        ConversionError,
        match=r"does not compute what pytorch .* computes: output 'scores' differs at batch \d+, seed",
    ) as caught:
        convert_and_publish(store, "digits", source, ConversionOptions(rtol=1e-12, on_failure="reject"))
    assert caught.value.details["parity"]["passed"] is False
    assert store.versions("digits") == []
    assert list(folder.iterdir()) == []


def test_another_precision_is_refused(store: Store, linear_onnx: Path) -> None:
    with pytest.raises(ConfigError, match=r"convert\.precision: 'int4' is not one of float32, float16, int8"):
        convert_and_publish(store, "linear", linear_onnx, ConversionOptions(precision="int4"))


def test_the_key_depends_on_source_converter_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    converter = load_converter("onnx")
    keys = {
        key(),
        key(rtol=1e-3),
        key(largest_batch=8),
        conversion_key("abd", converter, ConversionOptions()),
        conversion_key("abc", load_converter("keras"), ConversionOptions()),
    }
    monkeypatch.setattr(converter, "revision", 99, raising=False)
    keys.add(key())
    assert len(keys) == 6


@pytest.mark.parametrize("said", [{"trust": True}, {"framework": "onnx"}, {"licence": "MIT"}, {"notes": "of May"}])
def test_what_changes_no_conversion_is_no_part_of_the_key(said: dict[str, object]) -> None:
    assert key(**said) == key()


def test_a_real_mxnet_counts_by_whether_there_is_one() -> None:
    assert key(against_mxnet="one/bin/python") == key(against_mxnet="other/bin/python") != key()


def test_examples_count_by_their_bytes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes())
    np.savez(tmp_path / "c.npz", x=np.ones(3))
    a, b, c = (key(examples=str(tmp_path / f"{name}.npz")) for name in "abc")
    assert a == b != c
    assert a != key()


def test_missing_examples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"examples: '.*gone\.npz' can't be read: No such file"):
        key(examples=str(tmp_path / "gone.npz"))


def test_limits_are_for_whoever_asks(store: Store, linear_onnx: Path) -> None:
    from converters.sandbox import DEFAULT_LIMITS

    with pytest.raises(ConversionError, match=r"took longer than 0.01 s"):
        convert_and_publish(
            store, "linear", linear_onnx, ConversionOptions(), limits=replace(DEFAULT_LIMITS, timeout_s=0.01)
        )


# -- when the converter process dies ---------------------------------------------------------------------------------


class Sandbox:
    """Stands for the sandbox: its process dies of every conversion to ONNX, and of native ones too when told."""

    def __init__(self, *, native_dies: bool = False) -> None:
        self.asked: list[str] = []
        self._native_dies = native_dies

    def __call__(self, request: ConversionRequest, on_progress: object, limits: object) -> Converted:
        self.asked.append(request.options.to)
        leftover = Path(request.workdir, "onnx")
        assert not leftover.exists()
        leftover.mkdir()
        if request.options.to == "onnx" or self._native_dies:
            raise ConversionError("the converter process ended with signal 11 (SIGSEGV)", exit_code=-11)
        model = Path(request.workdir, "onnx", "model.pt2")
        model.write_bytes(b"program")
        signature = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))
        return Converted(
            runtime="pytorch",
            reason="asked for by `convert: {to: native}`",
            files={"model.pt2": str(model)},
            signatures={"serving_default": signature},
            default_signature="serving_default",
            graphs={},
            optimised={},
            fixed_batch={},
            opset=None,
            parity=ParityReport(True, 0.0, 0.0, 1e-4, (1,), (0,), (), "pytorch", True),
            profile=Profile(1.0, 64, 2.0),
            labels=None,
            libraries={},
        )


def test_a_model_whose_exporter_crashes_is_served_natively(
    store: Store, linear_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = Sandbox()
    monkeypatch.setattr(publish_module, "run_in_sandbox", sandbox)
    manifest = convert_and_publish(store, "linear", linear_onnx, ConversionOptions()).manifest
    assert sandbox.asked == ["onnx", "native"]
    assert (manifest.runtime, list(manifest.files)) == ("pytorch", ["model.pt2"])
    assert manifest.reason == "the converter process ended with signal 11 (SIGSEGV)"


@pytest.mark.parametrize(
    ("options", "native_dies", "asked"),
    [
        (ConversionOptions(on_failure="reject"), False, ["onnx"]),
        (ConversionOptions(precision="int8"), False, ["onnx"]),
        (ConversionOptions(), True, ["onnx", "native"]),
    ],
)
def test_the_crash_is_the_reason_where_nothing_else_may_or_can_serve(
    store: Store,
    linear_onnx: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: ConversionOptions,
    native_dies: bool,
    asked: list[str],
) -> None:
    sandbox = Sandbox(native_dies=native_dies)
    monkeypatch.setattr(publish_module, "run_in_sandbox", sandbox)
    with pytest.raises(ConversionError, match="SIGSEGV"):
        convert_and_publish(store, "linear", linear_onnx, options)
    assert sandbox.asked == asked
    assert store.versions("linear") == []


def test_somebody_elses_trust_does_not_count_for_a_version_that_is_found(
    store: Store, linear_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_module, "run_in_sandbox", Sandbox())
    made = convert_and_publish(store, "linear", linear_onnx, ConversionOptions(to="native", trust=True)).manifest
    assert made.trusted
    with pytest.raises(TrustRequired, match="version 1 of 'linear' was made with `trust: true`"):
        convert_and_publish(store, "linear", linear_onnx, ConversionOptions(to="native"))
    again = convert_and_publish(store, "linear", linear_onnx, ConversionOptions(to="native", trust=True))
    assert (again.manifest.version, again.converted) == (1, False)


def test_the_users_own_code_is_part_of_the_key(tmp_path: Path) -> None:
    def asked(folder: str) -> str:
        return key(module="nets:build", code_folder=str(tmp_path / folder))

    for folder, code in (("a", "x = 1"), ("b", "x = 1"), ("c", "x = 2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "nets.py").write_text(code)
    assert asked("a") == asked("b") != asked("c")
