"""A runtime that hangs: found, told, and in nobody's way."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from model_store.errors import InternalError, ModelNotReady
from model_store.manifest import HandlerSpec
from serve.control.fleet import Fleet as VersionFleet
from serve.control.state import Gathered, model_statuses
from serve.control.wanted import Wanted
from serve.devices import CPU
from serve.dialects.open_inference_replica import ReplicaService
from serve.dispatcher import Dispatcher
from serve.executors.inline import InlineExecutor, build_inline_executor
from serve.front_doors.replica import ReplicaFrontDoor
from serve.inference import InferenceRequest, ModelQuery, ServerQuery, StatusQuery, Tensors
from serve.loading import VersionLoader
from serve.logs import UntoldLines
from serve.replica import Model, ModelSettings
from serve.reports import GatewayReport, ReplicaReport
from serve.routing import Replica, ServeOptions, VersionEntry
from serve.runtimes.base import load_runtime
from serve.watchdog import hang_limit_s, hang_of
from tests.e2e.models import write_hanging, write_multiplier
from tests.serve.replica_fleet import DOUBLED, FLOATS, SECRET, Fleet
from tests.serve.tiny_versions import FunctionRuntime, dispatcher_of, double, entry, manifest
from tests.serve.waiting import eventually

REASON = (
    r"^model 'double' version 1 has run one batch for 0 s, at most 0\.05 s are allowed \(`serve\.hang_timeout_s`\)$"
)


class Stuck:
    """A model that waits for the test when it is asked for 7."""

    def __init__(self) -> None:
        self.free = threading.Event()

    def __call__(self, inputs: Tensors) -> Tensors:
        if (inputs["x"] == 7).any():
            self.free.wait(30)
        return double(inputs)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    model = Stuck()
    yield model
    model.free.set()


def limited(described: VersionEntry, hang_timeout_s: float | None = 0.05, deadline_ms: int = 30_000) -> VersionEntry:
    options = ServeOptions(described.serve.executor, hang_timeout_s=hang_timeout_s, deadline_ms=deadline_ms)
    return msgspec.structs.replace(described, serve=options)


def loaded_with(stuck: Stuck, hanging: VersionEntry, folder: Path) -> tuple[Dispatcher, VersionLoader, InlineExecutor]:
    """A version that runs `stuck`, loaded and ready as its loader has it."""
    dispatcher = dispatcher_of(hanging)
    executor = InlineExecutor(FunctionRuntime(stuck), on_loop=False)
    dispatcher.loaded[hanging.key].replace_executor(executor)
    loader = VersionLoader(dispatcher, folder, "here", "secret")
    loader.states.update(dict.fromkeys(dispatcher.loaded, "ready"))
    loader.follow(dispatcher.router.table)
    return dispatcher, loader, executor


def ask(dispatcher: Dispatcher, value: float, model: str = "double") -> asyncio.Task[list[list[float]]]:
    async def run() -> list[list[float]]:
        request = InferenceRequest(model, inputs={"x": np.full((1, 2), value, np.float32)})
        outputs = (await dispatcher.infer(request)).outputs
        assert outputs is not None
        return outputs["y"].tolist()  # type: ignore[no-any-return]

    return asyncio.ensure_future(run())


async def found_hanging(
    stuck: Stuck, hanging: VersionEntry, folder: Path
) -> tuple[Dispatcher, VersionLoader, InlineExecutor]:
    """As `loaded_with`, after a call that hung and was ended for it."""
    dispatcher, loader, executor = loaded_with(stuck, hanging, folder)
    hung = ask(dispatcher, 7)
    await eventually(lambda: executor.running_s > 0.05)
    await loader.reconnect()
    with pytest.raises(InternalError):
        await hung
    return dispatcher, loader, executor


def test_a_batch_may_run_for_twice_the_deadline_and_ten_seconds() -> None:
    assert hang_limit_s(limited(entry(), None, deadline_ms=500)) == 11
    assert hang_limit_s(limited(entry(), 3.5)) == 3.5


def test_a_handler_is_given_the_time_that_its_archive_gives_it() -> None:
    described = limited(entry(), None, deadline_ms=1000)
    handler = HandlerSpec(server="mms", entry="service:handle", response_timeout_s=120)
    changed = msgspec.structs.replace(described.manifest, handler=handler)
    assert hang_limit_s(msgspec.structs.replace(described, manifest=changed)) == 130


async def test_a_thread_tells_how_long_its_batch_has_run(stuck: Stuck) -> None:
    executor = InlineExecutor(FunctionRuntime(stuck), on_loop=False)
    assert executor.running_s == 0
    running = executor.run({"x": np.full((1, 2), 7, np.float32)}, float("inf"))
    await eventually(lambda: executor.running_s > 0.05)
    assert (hang_of(limited(entry()), executor) or "").startswith("model 'double' version 1 has run one batch for 0 s")
    stuck.free.set()
    await running  # type: ignore[misc]
    assert executor.running_s == 0
    assert hang_of(limited(entry()), executor) is None
    await executor.close()


async def test_a_hung_version_is_not_ready_and_the_others_go_on(stuck: Stuck, tmp_path) -> None:
    hanging, other = limited(entry()), entry("other")
    dispatcher = dispatcher_of(hanging, other)
    dispatcher.loaded[hanging.key].replace_executor(InlineExecutor(FunctionRuntime(stuck), on_loop=False))
    loader = VersionLoader(dispatcher, tmp_path, "here", "secret")
    loader.states.update(dict.fromkeys(dispatcher.loaded, "ready"))
    loader.follow(dispatcher.router.table)
    hung = ask(dispatcher, 7)
    executor = dispatcher.loaded[hanging.key].executor
    assert isinstance(executor, InlineExecutor)
    await eventually(lambda: executor.running_s > 0.05)
    waiting = ask(dispatcher, 1)
    await asyncio.sleep(0)
    await loader.reconnect()
    with pytest.raises(InternalError, match=REASON):
        await hung
    for refused in (waiting, ask(dispatcher, 1)):
        with pytest.raises(ModelNotReady, match=REASON):
            await refused
    assert loader.states[hanging.key].startswith(
        "trouble: ModelNotReady: model 'double' version 1 has run one batch for "
    )
    assert await ask(dispatcher, 1, "other") == [[2, 2]]
    with pytest.raises(ModelNotReady, match=REASON):
        await dispatcher.answer(ModelQuery("double"))
    server = await dispatcher.answer(ServerQuery())
    assert (server.ready, list(server.missing), server.models) == (False, ["double"], ("other",))  # type: ignore[union-attr]
    listed = await dispatcher.answer(StatusQuery("double"))
    assert [version.state for version in listed.models[0].versions] == ["FAILED"]  # type: ignore[union-attr]
    stuck.free.set()
    await eventually(lambda: executor.running_s == 0)
    await loader.reconnect()
    assert await ask(dispatcher, 1) == [[2, 2]]
    assert loader.states == {hanging.key: "ready", other.key: "ready"}


async def test_a_hung_version_that_is_retired_is_let_go(stuck: Stuck, tmp_path) -> None:
    hanging = limited(entry())
    dispatcher, loader, _ = await found_hanging(stuck, hanging, tmp_path)
    loader.follow(msgspec.structs.replace(dispatcher.router.table, number=2, versions=(), routes={}))
    await eventually(lambda: not dispatcher.loaded)
    assert loader.states == {}
    await loader.drain()


async def test_a_version_that_hangs_while_it_is_retired_is_let_go(stuck: Stuck, tmp_path) -> None:
    hanging = limited(entry())
    dispatcher, loader, executor = loaded_with(stuck, hanging, tmp_path)
    hung = ask(dispatcher, 7)
    await eventually(lambda: executor.running_s > 0)
    loader.follow(msgspec.structs.replace(dispatcher.router.table, number=2, versions=(), routes={}))
    await eventually(lambda: loader.states == {hanging.key: "draining"})
    await eventually(lambda: executor.running_s > 0.05)
    await loader.reconnect()
    assert loader.states in ({}, {hanging.key: "draining"})
    with pytest.raises(InternalError):
        await hung
    await eventually(lambda: not dispatcher.loaded)
    assert loader.states == {}


async def test_a_hung_version_that_is_to_run_otherwise_does_not_fail_the_change(stuck: Stuck, tmp_path) -> None:
    hanging = limited(entry())
    dispatcher, loader, executor = await found_hanging(stuck, hanging, tmp_path)
    moved = msgspec.structs.replace(hanging, serve=msgspec.structs.replace(hanging.serve, executor="replicas"))
    loader.follow(msgspec.structs.replace(dispatcher.router.table, number=2, versions=(moved,)))
    await eventually(lambda: dispatcher.loaded[hanging.key].successor is not None)
    await loader.reconnect()
    assert loader.states == {hanging.key: "loading"}
    stuck.free.set()
    await eventually(lambda: executor.running_s == 0)
    await loader.reconnect()
    assert loader.states == {hanging.key: "loading"}
    await dispatcher.loaded[hanging.key].successor.close()  # type: ignore[union-attr]


def test_status_says_why_no_gateway_can_run_a_version() -> None:
    fleet = VersionFleet("./store", 1)
    described = entry()
    fleet.want("double", [Wanted(described, 100)])
    fleet.heard.hear_gateway(GatewayReport("a", 1, {}), 0.0)
    fleet.step(0.0)
    for name, state in (("a", "ready"), ("b", "ready")):
        fleet.heard.hear_gateway(GatewayReport(name, fleet.table.number, {described.key: state}), 0.0)
    fleet.step(0.0)
    hang = "ModelNotReady: it hangs"
    told = []
    for states in (("ready", "ready"), (hang, "ready"), (hang, hang)):
        for name, state in zip("ab", states, strict=True):
            fleet.heard.hear_gateway(GatewayReport(name, fleet.table.number, {described.key: state}), 0.0)
        (listed,) = model_statuses(["double"], fleet, Gathered())
        told.append([(version.state, version.reason) for version in listed.versions])
    assert told == [[("READY", None)], [("READY", None)], [("FAILED", "it hangs")]]


async def test_a_graph_with_a_loop_never_runs_on_the_event_loop(tmp_path: Path) -> None:
    executors = []
    for write in (lambda path: write_multiplier(path, 2.0), lambda path: write_hanging(path, at=13.0)):
        write(tmp_path / "model.onnx")
        executors.append(build_inline_executor(load_runtime(tmp_path, manifest(), threads=1), manifest(), 4))
    assert [executor.slots for executor in executors] == [1, 2]
    for executor in executors:
        await executor.close()


class Replaced(Model):
    """A replica whose end nobody awaits but the test: Python itself would only call it."""

    def __del__(self) -> None:  # type: ignore[override]
        pass


class Told:
    """What a replica tells the controller."""

    def __init__(self) -> None:
        self.reports: list[ReplicaReport] = []

    async def report_replica(self, report: ReplicaReport) -> None:
        self.reports.append(report)


async def started(model: Model, described: VersionEntry, stuck: Stuck) -> Replica:
    """`Model.__init__` without Ray and a store."""
    model._settings = ModelSettings("./store", described, SECRET, 30.0)
    model._hung = False
    model._device = CPU
    model._gpus = None
    model._untold = UntoldLines("double-v1")
    model._link = Told()  # type: ignore[assignment]
    model._heartbeat = asyncio.get_running_loop().create_task(asyncio.sleep(30))
    model._executor = InlineExecutor(FunctionRuntime(stuck), on_loop=False)
    dispatcher = dispatcher_of(described, executor=model._executor)
    model._version = dispatcher.loaded[described.key]
    model._service = ReplicaService(dispatcher.answer)
    model._door = ReplicaFrontDoor(model._service, SECRET)
    (port,) = await model._door.start(["127.0.0.1:0"])
    model._replica = Replica("hanging", "here", f"127.0.0.1:{port}", "")
    return model._replica


async def test_a_replica_that_hangs_answers_that_batch_and_what_waits_goes_elsewhere(stuck: Stuck) -> None:
    model: Model = Replaced.__new__(Replaced)
    fleet = Fleet()
    replica = await started(model, limited(entry()), stuck)
    await fleet.executor.update([replica])
    deadline = asyncio.get_running_loop().time() + 20
    hung = asyncio.ensure_future(fleet.executor.run({"x": np.full((1, 2), 7, np.float32)}, deadline))
    await eventually(lambda: model._executor.running_s > 0)
    await model.check_health()
    waiting = asyncio.ensure_future(fleet.executor.run(FLOATS, deadline))
    await eventually(lambda: model._executor.running_s > 0.05)
    for _ in range(3):
        with pytest.raises(InternalError, match=r"(at most 0\.05 s are allowed|is being replaced)"):
            await model.check_health()
    with pytest.raises(InternalError, match=REASON):
        await hung
    assert [report.leaving for report in model._link.reports] == [True]  # type: ignore[attr-defined]
    assert not waiting.done()
    assert fleet.executor.slots == 0
    await fleet.know(await fleet.serve("other"))
    assert (await waiting)["y"].tolist() == DOUBLED
    # Ray Serve awaits it: nothing is left to wait for.
    await Model.__del__(model)
    await fleet.executor.close()
    await fleet.servers[0].stop()


class Deaf:
    """A controller to which no report gets."""

    async def report_replica(self, report: ReplicaReport) -> None:
        raise TypeError("a report\nthat can't be sent")


async def test_a_hung_replica_whose_farewell_fails_warns_in_one_line_and_is_replaced(
    stuck: Stuck, caplog: pytest.LogCaptureFixture
) -> None:
    model: Model = Replaced.__new__(Replaced)
    fleet = Fleet()
    await fleet.executor.update([await started(model, limited(entry()), stuck)])
    model._link = Deaf()  # type: ignore[assignment]
    deadline = asyncio.get_running_loop().time() + 20
    hung = asyncio.ensure_future(fleet.executor.run({"x": np.full((1, 2), 7, np.float32)}, deadline))
    await eventually(lambda: model._executor.running_s > 0.05)
    with pytest.raises(InternalError, match=REASON):
        await model.check_health()
    with pytest.raises(InternalError, match=REASON):
        await hung
    assert (
        "onegate",
        logging.WARNING,
        "a replica's farewell did not reach the controller, going on without it: "
        'TypeError("a report\\nthat can\'t be sent")',
    ) in caplog.record_tuples
    await fleet.executor.close()
