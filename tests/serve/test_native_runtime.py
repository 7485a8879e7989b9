"""The runtimes of the frameworks themselves, as the server meets them: refusals, missing libraries, trust."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from converters import native
from model_store.errors import InvalidInput, ModelNotReady, TrustRequired
from model_store.manifest import Manifest, Profile
from model_store.store import Store
from serve.config_sections.model import ModelConfig
from serve.config_sections.serve import ServeConfig
from serve.control.preparation import prepare_model
from serve.control.serve_options import serve_options
from serve.runtimes.base import RUNTIMES, load_runtime
from tests.serve.tiny_versions import manifest


class Doubling:
    """A native model that refuses more than two rows, and breaks at three."""

    def __init__(self, folder: Path, signatures: object, *, threads: int, trusted: bool) -> None:
        self.threads = threads
        self.trusted = trusted

    def run(self, inputs: dict[str, np.ndarray], signature: str) -> dict[str, np.ndarray]:
        if len(inputs["x"]) == 3:
            raise RuntimeError("out of memory")
        if len(inputs["x"]) > 2:
            raise ValueError("at most two rows\nand more text")
        return {"y": inputs["x"] * 2}


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> Manifest:
    monkeypatch.setitem(native.NATIVE_RUNTIMES, "sklearn", f"{__name__}:Doubling")
    return msgspec.structs.replace(manifest(), runtime="sklearn")


def rows(count: int) -> dict[str, np.ndarray]:
    return {"x": np.ones((count, 2), np.float32)}


def test_every_runtime_can_be_named_by_a_manifest() -> None:
    assert set(RUNTIMES) == {"onnx", "pytorch", "tensorflow", "sklearn", "boosting", "handler"}


def test_a_native_version_answers(described: Manifest, tmp_path: Path) -> None:
    assert load_runtime(tmp_path, described, threads=2).run(rows(2))["y"].tolist() == [[2, 2], [2, 2]]


def test_values_that_the_model_refuses_are_the_callers_mistake(described: Manifest, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"^the model refuses these values: at most two rows$"):
        load_runtime(tmp_path, described, threads=1).run(rows(4))


def test_other_failures_are_the_servers(described: Manifest, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        load_runtime(tmp_path, described, threads=1).run(rows(3))


def test_a_missing_library_is_named_with_what_to_install(
    described: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(native.NATIVE_RUNTIMES, "pytorch", "no_such_library.native:Model")
    torch = msgspec.structs.replace(described, runtime="pytorch")
    with pytest.raises(
        ModelNotReady, match=r"runs in pytorch, and the library 'no_such_library' is not installed here: .*\[torch\]"
    ):
        load_runtime(tmp_path, torch, threads=1)


@pytest.mark.parametrize(("runtime", "executor"), [("onnx", "inline"), ("sklearn", "replicas")])
def test_a_native_version_stays_out_of_the_gateway(runtime: str, executor: str) -> None:
    fast = msgspec.structs.replace(manifest(), runtime=runtime, profile=Profile(0.1, 64, 0.5))
    assert serve_options(ServeConfig(), fast).executor == executor
    assert serve_options(ServeConfig(executor="inline"), fast).executor == "inline"


def test_a_trusted_version_of_the_store_needs_the_trust_of_the_config(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    carries_code = msgspec.structs.replace(manifest("m"), version=0, runtime="sklearn", trusted=True)
    (tmp_path / "model.pkl").write_bytes(b"...")
    store.publish(carries_code, {"model.pkl": tmp_path / "model.pkl"})
    listed = {"name": "m", "versions": [{"version": 1}]}
    with pytest.raises(TrustRequired, match="version 1 of 'm' was made with `trust: true`"):
        prepare_model(store, ModelConfig.model_validate(listed), (), {}, lambda _: None)
    (wanted,) = prepare_model(store, ModelConfig.model_validate({**listed, "trust": True}), (), {}, lambda _: None)
    assert wanted.entry.manifest.trusted
