"""What scopes grant, and that nothing can be asked of which nobody has said what it needs."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from serve.access.scopes import GRPC_METHODS, MANAGEMENT_ROUTES, QUERIES, Grants, Need, query_need, route_need
from serve.config_sections.rules import SCOPE_PATTERN
from serve.control.management import Management
from serve.dialects.registry import grpc_services
from serve.inference import InferenceRequest, ModelQuery, Query
from serve.operations import LoadModel, Operation
from tests.serve.access.guarded import Nobody


def test_every_query_and_operation_has_a_scope() -> None:
    def kinds(base: type) -> set[type]:
        return {base, *(kind for sub in base.__subclasses__() for kind in kinds(sub))}

    assert QUERIES.keys() == {*get_args(Query), *kinds(Operation)} - {Operation}


def test_every_grpc_method_has_a_scope() -> None:
    assert {service: set(methods) for service, methods in GRPC_METHODS.items()} == {
        service.name: set(service.methods) for service in grpc_services()
    }


def test_every_route_of_the_management_port_s_own_has_a_scope() -> None:
    no_dialects: Any = None

    assert MANAGEMENT_ROUTES.keys() == Management(Nobody(), no_dialects).routes.keys()


def test_what_is_missing_in_a_table_needs_manage() -> None:
    class Another(Operation, frozen=True, kw_only=True):
        pass

    try:
        assert query_need(Another()) == (Need.MANAGE, "")
        assert route_need("GET", "/api/another") == (Need.MANAGE, "")
    finally:
        del Another


def test_a_query_tells_its_model() -> None:
    assert query_need(InferenceRequest("m")) == (Need.INFER, "m")
    assert query_need(ModelQuery("m", "1")) == (Need.MODEL, "m")
    assert query_need(LoadModel(source="net.mar")) == (Need.MANAGE, "")


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ((), {Need.NOTHING}),
        (("infer",), {Need.NOTHING, Need.INFER, Need.MODEL}),
        (("infer:m",), {Need.NOTHING, Need.INFER, Need.MODEL}),
        (("infer:n",), {Need.NOTHING}),
        (("view",), {Need.NOTHING, Need.MODEL, Need.VIEW}),
        (("manage",), {Need.NOTHING, Need.MODEL, Need.VIEW, Need.MANAGE}),
        (("metrics",), {Need.NOTHING, Need.METRICS}),
        (("openid", "infer:", "infer2", "*"), {Need.NOTHING}),
    ],
)
def test_scopes_allow_what_they_say(scopes: tuple[str, ...], allowed: set[Need]) -> None:
    assert {need for need in Need if Grants(scopes).allow(need, "m")} == allowed


@pytest.mark.parametrize(
    ("scope", "model", "allowed"),
    [
        ("infer:m", "m", True),
        ("infer:m", "m2", False),
        ("infer:m", "M", False),
        ("infer:m", "", False),
        ("infer:m*", "m", True),
        ("infer:m*", "m2", True),
        ("infer:m*", "n", False),
        ("infer:m*", "", False),
        ("infer:*", "n", True),
        ("infer:*", "", True),
        ("infer", "", True),
    ],
)
def test_a_scope_for_models_allows_those_that_it_names(scope: str, model: str, allowed: bool) -> None:
    assert Grants([scope]).allow(Need.INFER, model) is allowed


def refused_to(*scopes: str) -> set[Need]:
    """What a caller with these scopes may not do with some model."""
    return {need for need in Need if not Grants(scopes).allow(need, "n")}


def test_all_four_together_are_all() -> None:
    assert refused_to("infer", "view", "manage", "metrics") == set()
    assert refused_to("infer:m", "view", "manage", "metrics") == {Need.INFER}


@pytest.mark.parametrize("scope", ["infer", "infer:*", "infer:a.b-c_d", "infer:a*", "view", "manage", "metrics"])
def test_a_scope_is_admitted(scope: str) -> None:
    assert re.fullmatch(SCOPE_PATTERN, scope)


@pytest.mark.parametrize("scope", ["", "infer:", "infer:a b", "infer:a*b", "infer:-a", "admin", "view:m", "Infer"])
def test_other_words_are_no_scopes(scope: str) -> None:
    assert not re.fullmatch(SCOPE_PATTERN, scope)
