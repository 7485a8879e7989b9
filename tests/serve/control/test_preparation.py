"""Models of the config become versions, once each; preparations take turns in their own threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from model_store.errors import ConversionError, ModelNotFound, SourceError
from model_store.manifest import HandlerSpec, ImageProcessor, Profile
from model_store.store import Store
from serve.config_sections.model import ModelConfig
from serve.config_sections.serve import ServeConfig
from serve.control.preparation import (
    Made,
    Preparer,
    archive_manifest,
    conversion_options,
    prepare_model,
    stored_version,
)
from serve.control.serve_options import serve_options
from serve.control.wanted import Wanted
from serve.rollouts.sticky import Sticky
from serve.routing import Batching, Scaling, ServeOptions
from tests.model_store.web import FILE, SENDS_ON, web_server
from tests.serve.tiny_versions import entry, manifest
from tests.serve.waiting import eventually


def model(name: str = "m", **keys: Any) -> ModelConfig:
    if "versions" not in keys:
        keys.setdefault("source", "/exports/m.onnx")
    return ModelConfig.model_validate({"name": name, **keys})


# -- turns -----------------------------------------------------------------------------------------------------------


class Conversions:
    """Stands for `prepare_model`: each model's preparation goes on until the test lets it end."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.running: list[str] = []
        self.tell: dict[str, Callable[[str], None]] = {}
        self.failure: Exception | None = None
        self._ends: dict[str, threading.Event] = {}

    def __call__(
        self, store: Store, config: ModelConfig, allowed: Sequence[str], made: Made, on_progress: Callable[[str], None]
    ) -> tuple[Wanted, ...]:
        name = config.name
        self.tell[name] = on_progress
        end = self._ends[name] = threading.Event()
        self.running.append(name)
        self.begun.append(name)
        assert end.wait(5)
        self.running.remove(name)
        if self.failure is not None:
            raise self.failure
        return (Wanted(entry(name, len(self.begun)), 100),)

    def end(self, *names: str) -> None:
        for name in names:
            self._ends[name].set()

    async def has_begun(self, *names: str) -> None:
        await eventually(lambda: sorted(self.begun) == sorted(names))


@pytest.fixture
async def conversions(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Conversions]:
    conversions = Conversions()
    monkeypatch.setattr("serve.control.preparation.prepare_model", conversions)
    yield conversions
    conversions.end(*conversions.running)


@pytest.fixture
def preparer(tmp_path: Path) -> Preparer:
    return Preparer(Store.open(str(tmp_path / "store")), 2)


def unheard(text: str) -> None:
    raise AssertionError(text)


async def test_a_preparation_gives_its_versions_and_tells_how_far_it_is(
    preparer: Preparer, conversions: Conversions
) -> None:
    heard: list[tuple[str, bool]] = []

    def on_progress(text: str) -> None:
        heard.append((text, threading.current_thread() is threading.main_thread()))

    preparing = asyncio.ensure_future(preparer.prepare(model("a"), (), {}, on_progress))
    await conversions.has_begun("a")
    conversions.tell["a"]("exporting")
    conversions.tell["a"]("comparing")
    await eventually(lambda: heard == [("exporting", True), ("comparing", True)])
    conversions.end("a")
    assert await preparing == (Wanted(entry("a", 1), 100),)


async def test_what_a_preparation_raises_reaches_its_caller(preparer: Preparer, conversions: Conversions) -> None:
    conversions.failure = ConversionError("outputs differ by 3%")
    preparing = asyncio.ensure_future(preparer.prepare(model("a"), (), {}, unheard))
    await conversions.has_begun("a")
    conversions.end("a")
    with pytest.raises(ConversionError, match=r"^outputs differ by 3%$"):
        await preparing


async def test_no_more_are_prepared_at_once_than_there_are_threads(
    preparer: Preparer, conversions: Conversions
) -> None:
    preparing = [asyncio.ensure_future(preparer.prepare(model(name), (), {}, unheard)) for name in ("a", "b", "c")]
    await conversions.has_begun("a", "b")
    await asyncio.sleep(0.05)
    assert sorted(conversions.begun) == ["a", "b"]
    conversions.end("a")
    await conversions.has_begun("a", "b", "c")
    assert sorted(conversions.running) == ["b", "c"]
    conversions.end("b", "c")
    assert [len(each) for each in await asyncio.gather(*preparing)] == [1, 1, 1]


async def test_a_cancelled_preparation_is_not_heard_any_more(preparer: Preparer, conversions: Conversions) -> None:
    heard: list[str] = []
    preparing = asyncio.ensure_future(preparer.prepare(model("a"), (), {}, heard.append))
    await conversions.has_begun("a")
    conversions.tell["a"]("exporting")
    await eventually(lambda: heard == ["exporting"])
    preparing.cancel()
    await asyncio.wait([preparing])
    conversions.tell["a"]("comparing")
    await asyncio.sleep(0.02)
    assert (preparing.cancelled(), heard, conversions.running) == (True, ["exporting"], ["a"])


async def test_the_failure_of_a_cancelled_preparation_is_not_reported_as_lost(
    preparer: Preparer, conversions: Conversions, caplog: pytest.LogCaptureFixture
) -> None:
    conversions.failure = ConversionError("outputs differ by 3%")
    preparing = asyncio.ensure_future(preparer.prepare(model("a"), (), {}, unheard))
    await conversions.has_begun("a")
    preparing.cancel()
    await asyncio.wait([preparing])
    conversions.end("a")
    await eventually(lambda: conversions.running == [])
    conversions.failure = None
    again = asyncio.ensure_future(preparer.prepare(model("a"), (), {}, unheard))
    await conversions.has_begun("a", "a")
    conversions.end("a")
    await again
    assert caplog.records == []


async def test_the_next_preparation_of_a_model_waits_for_the_thread_of_the_cancelled_one(
    preparer: Preparer, conversions: Conversions
) -> None:
    first = asyncio.ensure_future(preparer.prepare(model("a"), (), {}, unheard))
    await conversions.has_begun("a")
    first.cancel()
    second = asyncio.ensure_future(preparer.prepare(model("a"), (), {}, unheard))
    other = asyncio.ensure_future(preparer.prepare(model("b"), (), {}, unheard))
    await conversions.has_begun("a", "b")
    await asyncio.sleep(0.05)
    assert sorted(conversions.begun) == ["a", "b"]
    conversions.end("a")
    await conversions.has_begun("a", "b", "a")
    conversions.end("a", "b")
    assert await second == (Wanted(entry("a", 3), 100),)
    await other


async def test_preparations_that_were_cancelled_before_their_turn_never_begin(
    preparer: Preparer, conversions: Conversions
) -> None:
    first = asyncio.ensure_future(preparer.prepare(model("a"), (), {}, unheard))
    await conversions.has_begun("a")
    for _ in range(3):
        waiting = asyncio.ensure_future(preparer.prepare(model("a"), (), {}, unheard))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    conversions.end("a")
    await first
    await asyncio.sleep(0.05)
    assert conversions.begun == ["a"]


# -- versions --------------------------------------------------------------------------------------------------------


def export_linear(file: Path, factor: float) -> Path:
    """An ONNX file that computes x times a matrix."""
    weight = numpy_helper.from_array(np.full((2, 3), factor, np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
    return file


def test_a_source_is_converted_once_and_found_again(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    config = model(source=str(export_linear(tmp_path / "m.onnx", 2.0)), serve={"executor": "replicas", "replicas": 2})
    (version,) = config.wanted_versions()
    assert stored_version(store, config, version, ()) is None

    first: list[str] = []
    (wanted,) = prepare_model(store, config, (), {}, first.append)
    assert (wanted.entry.key, wanted.traffic, wanted.labels) == (("m", 1), 100, ())
    assert wanted.entry.serve == ServeOptions("replicas", replicas=2)
    assert wanted.entry.manifest == store.manifest("m", 1)
    assert first[-1] == "publishing"
    assert stored_version(store, config, version, ()) == wanted.entry.manifest

    again: list[str] = []
    assert prepare_model(store, config, (), {}, again.append) == (wanted,)
    assert again == ["version 1 was made from the same source and options"]


def test_licence_and_notes_are_said_by_the_version_that_was_made_with_them(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    source = str(export_linear(tmp_path / "m.onnx", 2.0))
    progress: list[str] = []
    (made,) = prepare_model(store, model(source=source, licence="MIT", notes="trained in May"), (), {}, progress.append)
    (later,) = prepare_model(store, model(source=source, licence="Apache-2.0"), (), {}, progress.append)
    said = store.manifest("m", 1)
    assert (said.licence, said.notes) == ("MIT", "trained in May")
    assert made.entry.manifest == later.entry.manifest == said


def test_versions_of_the_store_are_taken_with_their_traffic_and_labels(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    file = export_linear(tmp_path / "m.onnx", 2.0)
    for key in ("first", "second"):
        store.publish(msgspec.structs.replace(manifest("m", 0), key=key), {"model.onnx": file})
    config = model(
        versions=[
            {"version": 2, "traffic": 90, "label": ["stable", "best"]},
            {"version": 1, "traffic": 10, "label": "old"},
        ],
        serve={"executor": "inline"},
    )
    wanted = prepare_model(store, config, (), {}, unheard)
    assert [(each.entry.key, each.traffic, each.labels) for each in wanted] == [
        (("m", 2), 90, ("stable", "best")),
        (("m", 1), 10, ("old",)),
    ]


@pytest.mark.parametrize(
    ("sticky", "means"),
    [
        (None, None),
        ({"header": "X-User"}, Sticky("x-user")),
        ("request_id", Sticky()),
        ({"request_id": True}, Sticky()),
        ({"request_id": False}, None),
    ],
)
def test_a_shadow_and_stickiness_come_with_the_versions(tmp_path: Path, sticky: Any, means: Sticky | None) -> None:
    store = Store.open(str(tmp_path / "store"))
    file = export_linear(tmp_path / "m.onnx", 2.0)
    for key in ("first", "second", "third"):
        store.publish(msgspec.structs.replace(manifest("m", 0), key=key), {"model.onnx": file})
    listed = [{"version": 3, "shadow": True}, {"version": 1}, {"version": 2, "shadow": True, "shadow_percent": 2.5}]
    found = prepare_model(store, model(versions=listed, sticky=sticky), (), {}, unheard)
    assert [(each.entry.key[1], each.traffic, each.shadow_percent, each.sticky) for each in found] == [
        (3, 0, 100.0, means),
        (1, 100, 0.0, means),
        (2, 0, 2.5, means),
    ]


def test_what_can_not_be_prepared_says_why(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    with pytest.raises(SourceError):
        prepare_model(store, model(source=str(tmp_path / "absent.onnx")), (), {}, unheard)
    with pytest.raises(ModelNotFound):
        prepare_model(store, model(versions=[{"version": 7}]), (), {}, unheard)


def test_a_source_of_the_web_is_sent_on_only_to_what_is_allowed(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"))
    with web_server() as web:
        web.content = export_linear(tmp_path / "m.onnx", 2.0).read_bytes()
        config = model(source=web.url + SENDS_ON)
        (version,) = config.wanted_versions()
        refused = [web.url + SENDS_ON]
        for read in (
            lambda: stored_version(store, config, version, refused),
            lambda: prepare_model(store, config, refused, {}, unheard),
            lambda: archive_manifest(web.url + SENDS_ON, refused),
        ):
            with pytest.raises(SourceError, match="where it is not followed"):
                read()
        assert FILE not in web.asked
        for followed in ([web.url + "/models/*"], []):
            assert stored_version(store, config, version, followed) is None
        assert FILE in web.asked


# -- where a version runs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("executor", "batch_one_ms", "decided"),
    [
        ("auto", 4.9, ("inline", 1)),
        ("auto", 5.0, ("replicas", 3)),
        ("auto", None, ("replicas", 3)),
        ("inline", 50.0, ("inline", 1)),
        ("replicas", 0.1, ("replicas", 3)),
    ],
)
def test_auto_keeps_fast_models_inline(executor: str, batch_one_ms: float | None, decided: tuple[str, int]) -> None:
    profile = None if batch_one_ms is None else Profile(batch_one_ms, 64, 100.0)
    described = msgspec.structs.replace(manifest(), profile=profile)
    options = serve_options(ServeConfig.model_validate({"executor": executor, "replicas": 3}), described)
    assert (options.executor, options.replicas) == decided


@pytest.mark.parametrize(
    ("batching", "expected"),
    [
        ({}, Batching(8, 50.0, 1024)),
        ({"max_batch_size": 4, "max_delay_ms": 1.5, "max_queue": 99}, Batching(4, 1.5, 99)),
        ({"max_batch_size": 16}, Batching(8, 50.0, 1024)),
    ],
)
def test_a_handler_gets_batches_as_its_archive_says(batching: dict[str, Any], expected: Batching) -> None:
    spec = HandlerSpec(server="mms", entry="service:handle", batch_size=8, max_batch_delay_ms=50.0)
    described = msgspec.structs.replace(manifest(), runtime="handler", handler=spec)
    options = serve_options(ServeConfig.model_validate({"batching": batching}), described)
    assert (options.executor, options.batching) == ("replicas", expected)


def test_processor_and_labels_of_the_config_reach_the_conversion() -> None:
    asked = model(processor={"type": "image", "std": [2.0]}, labels="/exports/labels.txt")
    options = conversion_options(asked)
    assert (options.processor, options.labels) == (ImageProcessor(std=(2.0,)), "/exports/labels.txt")
    assert conversion_options(model()).processor is None


def test_all_options_of_the_config_reach_the_version() -> None:
    config = ServeConfig.model_validate(
        {
            "executor": "replicas",
            "cpus": 2,
            "replicas": 3,
            "batching": {"max_batch_size": 8, "max_delay_ms": 1.5, "max_queue": 99},
            "deadline_ms": 1000,
        }
    )
    assert serve_options(config, manifest()) == ServeOptions("replicas", 2, 3, Batching(8, 1.5, 99), 1000)


@pytest.mark.parametrize(
    ("replicas", "row_independent", "first", "scaling"),
    [
        ({"min": 0, "max": 4}, True, 1, Scaling(0, 4, 16, 1.0, 60.0)),
        ({"min": 2, "max": 4, "up_delay_s": 0.5, "down_delay_s": 9.0}, False, 2, Scaling(2, 4, 2, 0.5, 9.0)),
        ({"max": 4, "target_queue": 5}, True, 1, Scaling(1, 4, 5, 1.0, 60.0)),
        (3, True, 3, None),
    ],
)
def test_bounds_of_replicas_begin_with_one_and_aim_at_two_batches_each(
    replicas: Any, row_independent: bool, first: int, scaling: Scaling | None
) -> None:
    config = ServeConfig.model_validate(
        {"executor": "replicas", "replicas": replicas, "batching": {"max_batch_size": 8}}
    )
    options = serve_options(config, manifest(row_independent=row_independent))
    assert (options.replicas, options.scaling) == (first, scaling)


def test_a_model_that_stays_in_the_gateway_has_no_bounds() -> None:
    described = msgspec.structs.replace(manifest(), profile=Profile(0.1, 64, 100.0))
    options = serve_options(ServeConfig.model_validate({"replicas": {"min": 0, "max": 4}}), described)
    assert (options.executor, options.replicas, options.scaling) == ("inline", 1, None)
