"""Errors on their way through reports keep their kind."""

from __future__ import annotations

import msgspec
import pytest

from model_store.errors import ERROR_KINDS, ModelNotReady, OutOfMemory
from serve.control.fleet import Fleet
from serve.control.wanted import Wanted
from serve.reports import GatewayReport, deployment_text, failure_text, told_failure
from tests.serve.tiny_versions import entry


@pytest.mark.parametrize("name", sorted(ERROR_KINDS))
def test_every_kind_comes_through_a_report(name: str) -> None:
    told = told_failure(failure_text(ERROR_KINDS[name]("expected: 1, got: 2")))
    assert (type(told), told.message) == (ERROR_KINDS[name], "expected: 1, got: 2")


@pytest.mark.parametrize("text", ["no node has 2 CPUs", "Ray: it failed", ""])
def test_text_of_no_kind_says_that_the_model_is_not_ready(text: str) -> None:
    told = told_failure(text)
    assert (type(told), told.message) == (ModelNotReady, text)


def test_the_fleet_keeps_why_a_gateway_could_not_load_a_version() -> None:
    fleet = Fleet("./store", 100)
    fleet.want("double", [Wanted(entry(), 100)])
    fleet.step(0.0)
    failure = failure_text(OutOfMemory("3 MiB, 2 MiB are left"))
    fleet.heard.hear_gateway(GatewayReport("a", fleet.table.number, {("double", 1): failure}), 0.0)
    fleet.step(0.0)
    state = fleet.versions["double", 1]
    assert (state.phase, state.reason, type(state.error)) == ("FAILED", "3 MiB, 2 MiB are left", OutOfMemory)
    assert fleet.table.unavailable == {"double": "3 MiB, 2 MiB are left"}


def test_a_version_that_is_tried_again_has_no_error() -> None:
    fleet = Fleet("./store", 100)
    fleet.want("double", [Wanted(entry(), 100)])
    fleet.fail(("double", 1), "OutOfMemory: too large")
    fleet.want("double", [Wanted(entry(), 100)])
    state = fleet.versions["double", 1]
    assert (state.phase, state.reason, state.error) == ("LOADING", None, None)


def test_replicas_are_started_anew_for_another_limit_of_a_batch_that_hangs() -> None:
    described = entry("double", executor="replicas")
    limited = msgspec.structs.replace(described, serve=msgspec.structs.replace(described.serve, hang_timeout_s=2.5))
    assert [deployment_text(each) for each in (described, limited)] == ["double-1/1/64", "double-1/1/64/hang2.5"]


def test_replicas_are_started_anew_for_a_deadline_that_they_would_take_for_a_hang() -> None:
    described = entry("double", executor="replicas", deadline_ms=300_000)
    limited = msgspec.structs.replace(described, serve=msgspec.structs.replace(described.serve, hang_timeout_s=2.5))
    shorter = entry("double", executor="replicas", deadline_ms=100)
    texts = [deployment_text(each) for each in (described, limited, shorter)]
    assert texts == ["double-1/1/64/deadline300000", "double-1/1/64/hang2.5", "double-1/1/64"]


def test_gateways_follow_when_all_of_them_do() -> None:
    fleet = Fleet("./store", 100)
    assert not fleet.heard.is_followed(100)
    fleet.heard.hear_gateway(GatewayReport("a", 101, {}), 0.0)
    assert fleet.heard.is_followed(101)
    fleet.heard.hear_gateway(GatewayReport("b", 100, {}), 0.0)
    assert (fleet.heard.is_followed(101), fleet.heard.is_followed(100)) == (False, True)
