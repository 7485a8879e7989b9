"""What the state tells of models: their versions, how far each is, and what is being prepared."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from model_store.errors import ConversionError
from model_store.manifest import ParityReport
from serve.commands.progress import unsettled
from serve.commands.tables import device_lines, model_table
from serve.config import Config
from serve.control.fleet import Fleet
from serve.control.state import Gathered, called_versions, describe_state, model_statuses
from serve.control.wanted import Wanted
from serve.devices import Device, DeviceOptions
from serve.reports import IDLE, READY, GatewayReport, ReplicaReport
from serve.routing import Replica, Scaling, ServeOptions, VersionEntry, VersionKey
from tests.serve.tiny_versions import entry

PARITY = ParityReport(
    passed=True,
    max_abs_error=1e-6,
    max_rel_error=2.5e-7,
    rtol=1e-4,
    batches=(1, 3, 64),
    seeds=(0,),
    outputs=(),
    reference="pytorch 2.13.0",
    row_independent=True,
)

WAITING = {
    "name": "digits",
    "version": None,
    "called": None,
    "state": "CONVERTING",
    "default": False,
    "labels": [],
    "traffic": 0,
    "shadow": None,
    "kept_until": None,
    "executor": None,
    "runtime": None,
    "device": None,
    "device_reason": None,
    "gpus": [],
    "replicas": {"ready": 0, "wanted": 0, "min": 0, "max": 0},
    "reason": "waiting for its turn",
    "framework": None,
    "max_rel_error": None,
}


class Controlled:
    """A fleet, one gateway that holds all of its table ready when asked, and what is gathered beside it."""

    def __init__(self, *models: str) -> None:
        self.fleet = Fleet("./store", 100)
        self.gathered = Gathered()
        self.config = Config.model_validate(
            {"models": [{"name": name, "source": f"/exports/{name}.onnx"} for name in models]}
        )

    def want(self, model: str, *wanted: Wanted) -> None:
        self.fleet.want(model, wanted)
        self.fleet.step(0.0)

    def report(self, states: dict[VersionKey, str]) -> None:
        self.fleet.heard.hear_gateway(GatewayReport("a", self.fleet.table.number, states), 0.0)
        self.fleet.step(0.0)

    def all_ready(self) -> None:
        self.report({each.key: READY for each in self.fleet.table.versions})

    def state(self) -> dict[str, Any]:
        return describe_state(self.config, 7, self.fleet, self.gathered, 0.0)

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        return [tuple(row[column] for column in columns) for row in self.state()["models"]]


def on_replicas(version: int, replicas: int) -> VersionEntry:
    return msgspec.structs.replace(entry("digits", version), serve=ServeOptions("replicas", replicas=replicas))


def test_addresses_generation_and_table_are_told() -> None:
    controlled = Controlled()
    controlled.gathered.stopping = True
    assert controlled.state() == {
        "gateway": {"http": "http://127.0.0.1:8080", "grpc": "127.0.0.1:8081", "management": "http://127.0.0.1:8082"},
        "generation": 7,
        "table": 100,
        "followed": False,
        "stopping": True,
        "models": [],
    }


def test_nothing_is_settled_before_the_gateway_follows_the_newest_table() -> None:
    controlled = Controlled("digits")
    assert unsettled(controlled.state()) == "waiting for the gateway"
    controlled.report({})
    assert unsettled(controlled.state()) is None
    controlled.want("digits", Wanted(on_replicas(1, 2), 100))
    assert unsettled(controlled.state()) == "digits: loading (0 of 2 replicas)"
    waits = "waits for a node with {'CPU': 2.0}; free in all Ray: {'CPU': 1.0}"
    controlled.fleet.wait(("digits", 1), waits)
    assert unsettled(controlled.state()) == f"digits: loading (0 of 2 replicas; {waits})"
    controlled.all_ready()
    assert unsettled(controlled.state()) == "waiting for the gateway"
    controlled.all_ready()
    assert unsettled(controlled.state()) is None
    controlled.fleet.heard.forget_gateway("a")
    assert unsettled(controlled.state()) == "waiting for the gateway"


def test_a_version_that_serves_is_told_with_all_that_is_known() -> None:
    controlled = Controlled("digits")
    described = entry("digits", 3)
    proven = msgspec.structs.replace(described, manifest=msgspec.structs.replace(described.manifest, parity=PARITY))
    controlled.want("digits", Wanted(proven, 100, ("stable",)))
    controlled.all_ready()
    assert controlled.state()["models"] == [
        {
            "name": "digits",
            "version": 3,
            "called": "3",
            "state": "READY",
            "default": True,
            "labels": ["stable"],
            "traffic": 100,
            "shadow": None,
            "kept_until": None,
            "executor": "inline",
            "runtime": "onnx",
            "device": "cpu",
            "device_reason": "serve.gpus is 0",
            "gpus": [],
            "replicas": {"ready": 1, "wanted": 1, "min": 1, "max": 1},
            "reason": None,
            "framework": "onnx",
            "max_rel_error": 2.5e-7,
        }
    ]


def test_a_version_is_called_as_the_config_says() -> None:
    controlled = Controlled("digits")
    controlled.want(
        "digits", Wanted(entry("digits", 3), 100, alias="1.0"), Wanted(entry("digits", 4), 0, source="/b.onnx")
    )
    controlled.all_ready()
    assert controlled.rows("version", "called") == [(3, "1.0"), (4, "4")]
    (status,) = model_statuses(["digits"], controlled.fleet, controlled.gathered)
    assert [(version.version, version.source) for version in status.versions] == [("1.0", None), ("4", "/b.onnx")]
    table = model_table(controlled.state())
    assert list(table.columns[1].cells) == ["1.0 (stored as 3)", "4"]


def test_a_version_that_loads_has_no_traffic_yet() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(entry("digits", 1), 100))
    columns = ("version", "state", "default", "traffic", "replicas", "max_rel_error")
    assert controlled.rows(*columns) == [(1, "LOADING", False, 0, {"ready": 0, "wanted": 1, "min": 1, "max": 1}, None)]


def test_traffic_and_labels_are_those_of_the_route() -> None:
    controlled = Controlled("digits")
    controlled.want(
        "digits", *(Wanted(entry("digits", v), t, tuple(n)) for v, t, n in ((1, 90, "a"), (2, 10, "cb"), (3, 0, "")))
    )
    controlled.all_ready()
    assert controlled.rows("version", "default", "traffic", "labels") == [
        (1, True, 90, ["a"]),
        (2, True, 10, ["b", "c"]),
        (3, False, 0, []),
    ]


def test_a_shadow_tells_of_how_many_calls_it_gets_copies() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(entry("digits", 1), 100), Wanted(entry("digits", 2), 0, shadow_percent=2.5))
    controlled.all_ready()
    assert controlled.rows("version", "traffic", "shadow") == [(1, 100, None), (2, 0, 2.5)]


def test_a_version_that_was_replaced_tells_until_when_it_is_kept() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(entry("digits", 1), 100))
    controlled.all_ready()
    controlled.fleet.want("digits", [Wanted(entry("digits", 2), 100)], keep_previous_s=90.0)
    controlled.fleet.step(0.0)
    controlled.all_ready()
    assert controlled.rows("version", "state", "kept_until") == [
        (1, "READY", "1970-01-01T00:01:30+00:00"),
        (2, "READY", None),
    ]
    controlled.fleet.release("digits")
    assert controlled.rows("version", "kept_until") == [(1, None), (2, None)]


def test_versions_on_replicas_tell_how_many_of_them_live() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(on_replicas(1, 3), 100))
    controlled.all_ready()
    replica = Replica("r1", "node", "unix-abstract:r1", "127.0.0.1:1")
    controlled.fleet.hear_replica(ReplicaReport(replica, ("digits", 1), "digits-1/1/64"), 0.0)
    replicas = {"ready": 1, "wanted": 3, "min": 3, "max": 3}
    assert controlled.rows("executor", "state", "replicas") == [("replicas", "READY", replicas)]


def test_a_version_that_is_scaled_to_none_is_idle_and_tells_its_bounds() -> None:
    controlled = Controlled("digits")
    options = ServeOptions("replicas", scaling=Scaling(0, 4, 128, 1.0, 60.0))
    controlled.want("digits", Wanted(msgspec.structs.replace(entry("digits", 1), serve=options), 100))
    controlled.all_ready()
    controlled.fleet.scale(("digits", 1), 0)
    replicas = {"ready": 0, "wanted": 0, "min": 0, "max": 4}
    assert controlled.rows("state", "default", "traffic", "replicas") == [("IDLE", True, 100, replicas)]
    assert unsettled(controlled.state() | {"followed": True}) is None


def test_a_version_that_all_gateways_have_unloaded_is_idle() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(entry("digits", 1), 100))
    controlled.all_ready()
    controlled.report({("digits", 1): IDLE})
    assert controlled.rows("state", "default", "traffic") == [("IDLE", True, 100)]


def test_a_failed_version_tells_why() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(entry("digits", 1), 100))
    controlled.report({("digits", 1): "no memory left"})
    assert controlled.rows("version", "state", "reason") == [(1, "FAILED", "no memory left")]


def test_a_change_that_failed_is_told_beside_the_version_that_serves_as_before() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(entry("digits", 1), 100))
    controlled.all_ready()
    controlled.want("digits", Wanted(on_replicas(1, 2), 100))
    controlled.fleet.fail(("digits", 1), "no node has room")
    columns = ("state", "executor", "traffic", "reason")
    assert controlled.rows(*columns) == [("READY", "inline", 100, "no node has room")]


def test_models_come_in_the_config_s_order_and_retired_ones_last() -> None:
    controlled = Controlled("wine", "digits")
    for name in ("digits", "wine", "zoo", "old"):
        controlled.want(name, Wanted(entry(name, 2), 100))
    controlled.all_ready()
    for name in ("zoo", "old"):
        controlled.fleet.retire(name)
    controlled.fleet.step(0.0)
    assert controlled.rows("name", "state", "traffic") == [
        ("wine", "READY", 100),
        ("digits", "READY", 100),
        ("old", "DRAINING", 0),
        ("zoo", "DRAINING", 0),
    ]


# -- preparations ----------------------------------------------------------------------------------------------------


def test_a_model_that_waits_for_its_conversion_is_converting() -> None:
    controlled = Controlled("digits")
    controlled.gathered.begin("digits")
    assert controlled.state()["models"] == [WAITING]


def test_progress_of_a_preparation_is_its_reason_beside_what_serves() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(entry("digits", 1), 100))
    controlled.all_ready()
    controlled.gathered.begin("digits")
    controlled.gathered.note_progress("digits", "comparing 3 batches")
    assert controlled.rows("version", "state", "traffic", "reason") == [
        (1, "READY", 100, None),
        (None, "CONVERTING", 0, "comparing 3 batches"),
    ]
    controlled.gathered.forget("digits")
    assert controlled.rows("version", "state") == [(1, "READY")]


def test_a_failed_preparation_is_told_until_the_next_one_begins() -> None:
    controlled = Controlled("digits")
    controlled.gathered.begin("digits")
    controlled.gathered.fail("digits", ConversionError("outputs differ by 3%"))
    assert controlled.state()["models"] == [WAITING | {"state": "FAILED", "reason": "outputs differ by 3%"}]
    controlled.gathered.begin("digits")
    assert controlled.state()["models"] == [WAITING]


def test_progress_of_a_preparation_that_is_over_is_not_told() -> None:
    controlled = Controlled("digits")
    controlled.gathered.note_progress("digits", "too late")
    controlled.gathered.begin("digits")
    controlled.gathered.fail("digits", ConversionError("outputs differ by 3%"))
    controlled.gathered.note_progress("digits", "too late")
    assert controlled.rows("state", "reason") == [("FAILED", "outputs differ by 3%")]


def test_a_model_that_nobody_wants_any_more_has_no_rows() -> None:
    controlled = Controlled()
    controlled.gathered.begin("digits")
    controlled.gathered.fail("digits", ConversionError("outputs differ by 3%"))
    controlled.gathered.forget("digits")
    assert (controlled.rows("name"), controlled.gathered) == ([], Gathered())


def test_where_replicas_compute_is_told_of_those_that_are_heard_of() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(on_replicas(1, 2), 100))
    columns = ("device", "device_reason", "gpus")
    assert controlled.rows(*columns) == [(None, None, [])]
    for number, device in enumerate((Device("cuda", visible="0"), Device("cpu", "no driver", "1"))):
        replica = Replica(f"r{number}", "n", "", "")
        controlled.fleet.hear_replica(ReplicaReport(replica, ("digits", 1), "", device=device), 0.0)
    assert controlled.rows(*columns) == [("cpu, cuda", "no driver", ["0", "1"])]
    assert list(model_table(controlled.state()).columns[4].cells) == ["replicas 2/2 on cpu, cuda"]
    assert device_lines(controlled.state()) == ["model 'digits' computes on the CPU: no driver"]


@pytest.mark.parametrize(("device", "reason"), [("auto", "serve.gpus is 0"), ("cpu", None)])
def test_gateways_compute_on_the_cpu(device: str, reason: str | None) -> None:
    controlled = Controlled("digits")
    asked = ServeOptions("inline", devices=DeviceOptions(device))
    controlled.want("digits", Wanted(msgspec.structs.replace(entry("digits", 1), serve=asked), 100))
    assert controlled.rows("device", "device_reason") == [("cpu", reason)]
    assert device_lines(controlled.state()) == []


def test_what_a_version_waits_for_is_told_until_it_is_there() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(entry("digits", 1), 100))
    controlled.fleet.wait(("digits", 1), "waits for a node with {'GPU': 1.0}")
    assert controlled.rows("state", "reason") == [("LOADING", "waits for a node with {'GPU': 1.0}")]
    controlled.all_ready()
    assert controlled.rows("state", "reason") == [("READY", None)]


# -- what versions are called -----------------------------------------------------------------------------------------


def test_versions_are_called_by_their_alias_and_else_by_their_number() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(entry("digits", 3), 90, alias="2026-01"), Wanted(entry("digits", 4), 10))
    assert called_versions(controlled.fleet) == {("digits", 3): "2026-01", ("digits", 4): "4"}
    controlled.all_ready()
    controlled.all_ready()
    assert called_versions(controlled.fleet) == {("digits", 3): "2026-01", ("digits", 4): "4"}


def test_no_two_versions_of_a_model_are_called_the_same() -> None:
    controlled = Controlled("digits")
    controlled.want("digits", Wanted(entry("digits", 3), 90, alias="4"), Wanted(entry("digits", 4), 10))
    assert called_versions(controlled.fleet) == {("digits", 3): "4", ("digits", 4): "v4"}
