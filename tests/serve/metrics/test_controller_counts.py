"""What the controller counts of conversions and of its store, with a real store and real conversions."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.base import ConversionOptions
from model_store.errors import ModelNotFound, OnegateError
from serve.metrics.controller_counts import CountedStore, convert
from tests.e2e.models import write_multiplier


def test_conversions_are_counted_by_what_came_of_them(tmp_path: Path) -> None:
    store, source, options = CountedStore.open(str(tmp_path / "store")), tmp_path / "m.onnx", ConversionOptions()
    write_multiplier(source, 2.0)
    made = convert(store, "m", source, options)
    again = convert(store, "m", source, options)
    source.write_bytes(b"\x08\x09 neither ONNX nor anything else")
    with pytest.raises(OnegateError):
        convert(store, "m", source, options)
    counted = store.counts.now()
    assert (made.converted, again.converted) == (True, False)
    assert counted.conversions == {("onnx", "onnx"): 1, ("onnx", "found"): 1, ("unknown", "failed"): 1}
    assert {framework: sum(took.counts) for framework, took in counted.conversion_s.items()} == {
        "onnx": 1,
        "unknown": 1,
    }
    assert counted.operations["publish", "ok"] == 1
    assert counted.operations["find", "ok"] == 2


def test_what_the_store_refuses_is_counted_by_its_kind(tmp_path: Path) -> None:
    store = CountedStore.open(str(tmp_path / "store"))
    with pytest.raises(ModelNotFound):
        store.manifest("m", 1)
    assert store.versions("m") == []
    operations = store.counts.now().operations
    assert operations["read", "ModelNotFound"] == 1
    assert operations["list", "ok"] >= 1


def test_a_copy_of_the_counts_stays_as_it_is(tmp_path: Path) -> None:
    store = CountedStore.open(str(tmp_path / "store"))
    before = store.counts.now()
    store.versions("m")
    assert before.operations == {}
