"""Ray Serve's applications are brought to what is wanted, whatever they were and whatever went wrong before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace

import msgspec
import pytest

from model_store.errors import ModelNotReady
from serve.control import deployments
from serve.control.deployer import Deployer
from serve.control.deployments import RunningVersion
from serve.replica import ModelSettings
from serve.reports import deployment_text
from serve.routing import Batching, ServeOptions, VersionEntry, VersionKey
from tests.serve.tiny_versions import manifest
from tests.serve.waiting import PATIENCE_S, eventually

V1, V2 = ("m", 1), ("m", 2)


@dataclass
class Application:
    """A version's application in Ray Serve."""

    deployment: str
    replicas: int
    deleting: bool = False
    trouble: str | None = None
    waiting: str | None = None


class RayServe:
    """Stands for Ray Serve: keeps applications, notes what it is told, and is out of reach while `down`."""

    def __init__(self) -> None:
        self.applications: dict[VersionKey, Application] = {}
        self.told: list[str] = []
        self.looks = 0
        self.down = False
        self.refusal: Exception | None = None
        self.calls_allowed = threading.Event()
        self.calls_allowed.set()

    def running_versions(self) -> dict[VersionKey, RunningVersion]:
        self.looks += 1
        self._reach()
        return {key: RunningVersion(app.deleting, app.trouble, app.waiting) for key, app in self.applications.items()}

    def deploy_version(self, settings: ModelSettings, replicas: int) -> None:
        self._reach()
        deployment = deployment_text(settings.entry)
        self.told.append(f"deploy {deployment} x{replicas}")
        if self.refusal is not None:
            raise self.refusal
        self.applications[settings.entry.key] = Application(deployment, replicas)

    def scale_version(self, key: VersionKey, replicas: int) -> None:
        self._reach()
        self.told.append(f"scale {key[0]}-{key[1]} x{replicas}")
        self.applications[key].replicas = replicas

    def delete_version(self, key: VersionKey) -> None:
        self._reach()
        self.told.append(f"delete {key[0]}-{key[1]}")
        self.applications[key].deleting = True

    def _reach(self) -> None:
        assert self.calls_allowed.wait(PATIENCE_S)
        if self.down:
            raise ConnectionError("the Serve controller\ndoes not answer")


class Cluster:
    """Ray Serve, what is wanted of it, what live replicas report, and deployers that follow."""

    def __init__(self, ray: RayServe) -> None:
        self.ray = ray
        self.wanted: dict[VersionKey, VersionEntry] = {}
        self.reported: dict[VersionKey, set[str]] = {}
        self.troubles: list[tuple[VersionKey, str]] = []
        self.waits: list[tuple[VersionKey, str]] = []
        self.deployer: Deployer
        self._running: asyncio.Task[None] | None = None

    def want(self, *entries: VersionEntry) -> None:
        self.wanted = {entry.key: entry for entry in entries}
        self.deployer.note_change()

    def start(self) -> None:
        """A controller starts; an earlier one, with all that it knew, is gone."""
        if self._running is not None:
            self._running.cancel()
        self.deployer = Deployer(
            lambda: dict(self.wanted),
            lambda key: self.reported.get(key, set()),
            lambda entry: ModelSettings("./store", entry, "secret", 30.0),
            lambda key, reason: self.troubles.append((key, reason)),
            lambda key, reason: self.waits.append((key, reason)),
        )
        self._running = asyncio.get_running_loop().create_task(self.deployer.run())

    async def pass_made(self) -> None:
        """Returns when a whole pass has been made since the call: the first look may be of one that had begun before,
        and the third comes when the second's pass is over."""
        looks = self.ray.looks
        await eventually(lambda: self.ray.looks >= looks + 3)

    async def told(self) -> list[str]:
        """What Ray Serve was told since the last question."""
        await self.pass_made()
        told, self.ray.told = self.ray.told, []
        return told

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])


def pause_between_passes(monkeypatch: pytest.MonkeyPatch, busy_s: float, idle_s: float) -> None:
    monkeypatch.setattr("serve.control.deployer.PASS_S", busy_s)
    monkeypatch.setattr("serve.control.deployer.IDLE_PASS_S", idle_s)


@pytest.fixture
async def cluster(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    ray = RayServe()
    for name in ("running_versions", "deploy_version", "scale_version", "delete_version"):
        monkeypatch.setattr(deployments, name, getattr(ray, name))
    pause_between_passes(monkeypatch, 0.01, 0.01)
    cluster = Cluster(ray)
    cluster.start()
    yield cluster
    await cluster.stop()


def on_replicas(version: int = 1, replicas: int = 1, cpus: int = 1, **batching: int) -> VersionEntry:
    options = ServeOptions("replicas", cpus=cpus, replicas=replicas, batching=Batching(**batching))
    return VersionEntry(manifest("m", version), options)


async def test_what_is_missing_is_deployed_once(cluster: Cluster) -> None:
    cluster.want(on_replicas(1, replicas=2), on_replicas(2, cpus=4, max_batch_size=8))
    assert await cluster.told() == ["deploy m-1/1/64 x2", "deploy m-2/4/8 x1"]
    assert await cluster.told() == []
    assert cluster.ray.applications == {V1: Application("m-1/1/64", 2), V2: Application("m-2/4/8", 1)}
    assert cluster.troubles == []


async def test_a_number_of_replicas_that_alone_differs_is_set_in_place(cluster: Cluster) -> None:
    cluster.want(on_replicas(replicas=2))
    await cluster.told()
    cluster.want(on_replicas(replicas=5))
    assert await cluster.told() == ["scale m-1 x5"]
    assert await cluster.told() == []
    cluster.want(on_replicas(replicas=1))
    assert await cluster.told() == ["scale m-1 x1"]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (on_replicas(replicas=2, cpus=3), "deploy m-1/3/64 x2"),
        (on_replicas(replicas=2, max_batch_size=8), "deploy m-1/1/8 x2"),
        (on_replicas(replicas=4, cpus=3), "deploy m-1/3/64 x4"),
    ],
)
async def test_replicas_that_must_be_started_anew_are_deployed_again(
    cluster: Cluster, changed: VersionEntry, told: str
) -> None:
    cluster.want(on_replicas(replicas=2))
    await cluster.told()
    cluster.want(changed)
    assert await cluster.told() == [told]
    assert await cluster.told() == []


async def test_limits_that_only_gateways_use_deploy_nothing(cluster: Cluster) -> None:
    cluster.want(on_replicas())
    await cluster.told()
    entry = on_replicas(max_queue=7)
    cluster.want(msgspec.structs.replace(entry, serve=msgspec.structs.replace(entry.serve, deadline_ms=1000)))
    assert await cluster.told() == []


async def test_an_application_that_vanished_is_deployed_again(cluster: Cluster) -> None:
    cluster.want(on_replicas(replicas=2))
    await cluster.told()
    cluster.ray.applications.clear()
    assert await cluster.told() == ["deploy m-1/1/64 x2"]


# -- no replicas -----------------------------------------------------------------------------------------------------


async def test_a_version_without_replicas_keeps_its_application_and_gets_one_in_place(cluster: Cluster) -> None:
    cluster.want(on_replicas(replicas=1))
    await cluster.told()
    cluster.want(on_replicas(replicas=0))
    assert await cluster.told() == ["scale m-1 x0"]
    assert await cluster.told() == []
    cluster.want(on_replicas(replicas=1))
    assert await cluster.told() == ["scale m-1 x1"]


async def test_a_version_without_replicas_that_must_be_started_anew_waits_until_it_has_one(cluster: Cluster) -> None:
    cluster.want(on_replicas(replicas=1))
    await cluster.told()
    cluster.want(on_replicas(replicas=0))
    await cluster.told()
    cluster.want(on_replicas(replicas=0, max_batch_size=8))
    assert await cluster.told() == []
    cluster.want(on_replicas(replicas=1, max_batch_size=8))
    assert await cluster.told() == ["deploy m-1/1/8 x1"]


async def test_a_new_controller_leaves_a_version_without_replicas_as_it_is_until_it_is_called(cluster: Cluster) -> None:
    cluster.want(on_replicas(replicas=1))
    await cluster.told()
    cluster.want(on_replicas(replicas=0))
    await cluster.told()
    cluster.start()
    assert await cluster.told() == ["scale m-1 x0"]
    assert await cluster.told() == []
    # As what it was deployed, nobody knows any more.
    cluster.want(on_replicas(replicas=1))
    assert await cluster.told() == ["deploy m-1/1/64 x1"]


async def test_a_version_without_replicas_that_was_never_deployed_is_not(cluster: Cluster) -> None:
    cluster.want(on_replicas(replicas=0))
    assert await cluster.told() == []
    assert cluster.ray.applications == {}


# -- what nobody wants -----------------------------------------------------------------------------------------------


async def test_an_application_that_nobody_wants_is_deleted_once(cluster: Cluster) -> None:
    cluster.want(on_replicas(1), on_replicas(2))
    await cluster.told()
    cluster.want(on_replicas(2))
    assert await cluster.told() == ["delete m-1"]
    assert await cluster.told() == []
    assert cluster.ray.applications[V2] == Application("m-2/1/64", 1)


async def test_an_application_that_an_earlier_controller_left_is_deleted(cluster: Cluster) -> None:
    cluster.ray.applications[("gone", 7)] = Application("gone-7/1/64", 2)
    assert await cluster.told() == ["delete gone-7"]


async def test_an_application_that_is_being_deleted_is_waited_for(cluster: Cluster) -> None:
    cluster.want(on_replicas(replicas=2))
    await cluster.told()
    cluster.want()
    assert await cluster.told() == ["delete m-1"]
    cluster.want(on_replicas(replicas=2))
    assert await cluster.told() == []
    del cluster.ray.applications[V1]
    assert await cluster.told() == ["deploy m-1/1/64 x2"]


# -- what goes wrong -------------------------------------------------------------------------------------------------


async def test_a_pass_that_failed_is_repeated(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    cluster.ray.down = True
    cluster.want(on_replicas())
    assert await cluster.told() == []
    assert "Ray Serve does not answer: the Serve controller does not answer" in caplog.messages
    cluster.ray.down = False
    assert await cluster.told() == ["deploy m-1/1/64 x1"]
    assert cluster.troubles == []


async def test_a_version_that_ray_serve_refuses_is_trouble_and_the_others_are_deployed(cluster: Cluster) -> None:
    cluster.ray.refusal = ValueError("num_cpus must\nbe positive")
    cluster.want(on_replicas(1), on_replicas(2))
    assert (await cluster.told())[:2] == ["deploy m-1/1/64 x1", "deploy m-2/1/64 x1"]
    assert cluster.troubles[:2] == [(V1, "num_cpus must be positive"), (V2, "num_cpus must be positive")]


async def test_trouble_of_an_application_is_told_and_changes_nothing(cluster: Cluster) -> None:
    cluster.want(on_replicas())
    await cluster.told()
    cluster.ray.applications[V1].trouble = "a replica failed to start"
    assert await cluster.told() == []
    assert cluster.troubles[0] == (V1, "a replica failed to start")


async def test_an_application_in_trouble_is_deployed_again_when_it_is_wanted_otherwise(cluster: Cluster) -> None:
    cluster.want(on_replicas(cpus=64))
    await cluster.told()
    cluster.ray.applications[V1].trouble = "no node has 64 CPUs"
    await cluster.told()
    cluster.want(on_replicas(cpus=2))
    assert await cluster.told() == ["deploy m-1/2/64 x1"]
    heard = len(cluster.troubles)
    await cluster.pass_made()
    assert len(cluster.troubles) == heard


async def test_an_application_in_trouble_that_an_earlier_controller_left_is_deployed_again(cluster: Cluster) -> None:
    await cluster.stop()
    cluster.ray.applications[V1] = Application("m-1/1/64", 1, trouble="a replica failed to start")
    cluster.wanted = {V1: on_replicas()}
    cluster.start()
    assert await cluster.told() == ["deploy m-1/1/64 x1"]
    assert cluster.troubles == []


# -- a new controller ------------------------------------------------------------------------------------------------


async def test_running_replicas_of_the_same_deployment_outlive_their_controller(cluster: Cluster) -> None:
    cluster.want(on_replicas(replicas=2))
    await cluster.told()
    cluster.reported = {V1: {"m-1/1/64"}}
    cluster.start()
    # The number may have changed between the two controllers, so it is said once more; that starts nothing anew.
    assert await cluster.told() == ["scale m-1 x2"]
    assert await cluster.told() == []


@pytest.mark.parametrize("reported", [set(), {"m-1/2/64"}, {"m-1/1/64", "m-1/2/64"}])
async def test_replicas_of_an_earlier_controller_that_are_not_surely_the_same_are_deployed(
    cluster: Cluster, reported: set[str]
) -> None:
    cluster.want(on_replicas(replicas=2))
    await cluster.told()
    cluster.reported = {V1: reported}
    cluster.start()
    assert await cluster.told() == ["deploy m-1/1/64 x2"]
    assert await cluster.told() == []


async def test_what_was_changed_while_no_controller_ran_is_deployed(cluster: Cluster) -> None:
    cluster.want(on_replicas(1), on_replicas(2))
    await cluster.told()
    await cluster.stop()
    cluster.wanted = {V1: on_replicas(1, cpus=2)}
    cluster.reported = {V1: {"m-1/1/64"}, V2: {"m-2/1/64"}}
    cluster.start()
    assert await cluster.told() == ["deploy m-1/2/64 x1", "delete m-2"]


# -- when a pass is made ---------------------------------------------------------------------------------------------


async def test_a_change_is_passed_on_at_once_and_no_change_makes_no_pass(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.stop()
    pause_between_passes(monkeypatch, 3600.0, 3600.0)
    cluster.ray.looks = 0
    cluster.start()
    await eventually(lambda: cluster.ray.looks == 1)
    cluster.want(on_replicas())
    await eventually(lambda: cluster.ray.told == ["deploy m-1/1/64 x1"])
    looks = cluster.ray.looks
    cluster.want(on_replicas())
    await asyncio.sleep(0.05)
    assert cluster.ray.looks == looks


async def test_a_change_during_a_pass_has_a_pass_of_its_own(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    await cluster.stop()
    pause_between_passes(monkeypatch, 3600.0, 3600.0)
    cluster.ray.looks = 0
    cluster.ray.calls_allowed.clear()
    cluster.start()
    await eventually(lambda: cluster.ray.looks == 1)
    cluster.want(on_replicas())
    cluster.ray.calls_allowed.set()
    await eventually(lambda: cluster.ray.told == ["deploy m-1/1/64 x1"])


@pytest.mark.parametrize(
    ("reported", "idle"),
    [(set(), False), ({"m-1/2/64"}, False), ({"m-1/1/64", "m-1/2/64"}, False), ({"m-1/1/64"}, True)],
)
async def test_passes_are_rare_only_when_all_replicas_are_what_is_wanted(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, reported: set[str], idle: bool
) -> None:
    await cluster.stop()
    pause_between_passes(monkeypatch, 0.01, 3600.0)
    cluster.wanted, cluster.reported = {V1: on_replicas()}, {V1: reported}
    cluster.ray.looks = 0
    cluster.start()
    if idle:
        await asyncio.sleep(0.2)
        assert cluster.ray.looks == 1
    else:
        await eventually(lambda: cluster.ray.looks > 1)


async def test_a_version_that_waits_for_room_is_told_and_left_alone(cluster: Cluster) -> None:
    cluster.want(on_replicas())
    await cluster.told()
    cluster.ray.applications[V1].waiting = "waits for a node with {'GPU': 1.0}"
    assert await cluster.told() == []
    assert set(cluster.waits) == {(V1, "waits for a node with {'GPU': 1.0}")}
    assert cluster.troubles == []


async def test_what_no_node_can_hold_is_told_with_its_kind(cluster: Cluster) -> None:
    cluster.ray.refusal = ModelNotReady("no node of Ray has 8 CPU")
    cluster.want(on_replicas(cpus=8))
    await cluster.pass_made()
    assert set(cluster.troubles) == {(V1, "ModelNotReady: no node of Ray has 8 CPU")}


UNPLACED = (
    "Deployment 'Model' in application 'm-v1' has 1 replicas that have taken more than 30s to be scheduled. This may "
    "be due to waiting for the cluster to auto-scale or for a runtime environment to be installed. Resources required "
    "for each replica: {'CPU': 1, 'GPU': 1}, total resources available: {'CPU': 3.0}."
)


@pytest.mark.parametrize(
    ("status", "message", "waiting"),
    [
        ("DEPLOYING", UNPLACED, "waits for a node with {'CPU': 1, 'GPU': 1}; free in all Ray: {'CPU': 3.0}"),
        ("DEPLOYING", "", None),
        ("RUNNING", UNPLACED, None),
    ],
)
def test_ray_serve_s_words_on_missing_room_are_read(status: str, message: str, waiting: str | None) -> None:
    app = SimpleNamespace(status=status, message="", deployments={"Model": SimpleNamespace(message=message)})
    assert deployments._waiting(app) == waiting
