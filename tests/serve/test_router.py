"""Which version answers: by traffic, by label, by number, and what is said when none can."""

from __future__ import annotations

import pytest

from model_store.errors import InvalidInput, ModelNotFound, ModelNotReady
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable
from tests.serve.tiny_versions import entry


def table(number: int = 1) -> RoutingTable:
    return RoutingTable(
        number=number,
        store="./store",
        versions=(entry("ranker", 1), entry("ranker", 2), entry("ranker", 5), entry("digits", 3)),
        routes={
            "ranker": ModelRoute(((1, 90), (2, 10)), {"stable": 1, "canary": 2, "old": 5}),
            "digits": ModelRoute(((3, 100),)),
        },
        unavailable={"resnet": "it is loading; try again shortly"},
    )


@pytest.mark.parametrize(
    ("point", "version"), [(0.0, 1), (0.5, 1), (0.899, 1), (0.9, 2), (0.95, 2), (0.999999, 2), (1.0, 2)]
)
def test_traffic_is_shared_out_by_percent(point: float, version: int) -> None:
    assert Router(table(), pick=lambda: point).resolve("ranker") == ("ranker", version)


def test_a_model_with_one_version_needs_no_pick() -> None:
    def never() -> float:
        raise AssertionError

    assert Router(table(), pick=never).resolve("digits") == ("digits", 3)


def test_a_version_without_traffic_is_never_picked() -> None:
    route = ModelRoute(((1, 100),), {"canary": 2})
    versions = (entry("ranker", 1), entry("ranker", 2))
    router = Router(RoutingTable(1, "./store", versions, {"ranker": route}), pick=lambda: 0.9999)
    assert router.resolve("ranker") == ("ranker", 1)
    assert router.resolve("ranker", version="2") == ("ranker", 2)


@pytest.mark.parametrize(("label", "version"), [("stable", 1), ("canary", 2), ("old", 5)])
def test_a_label_names_its_version(label: str, version: int) -> None:
    assert Router(table()).resolve("ranker", label=label) == ("ranker", version)


@pytest.mark.parametrize("version", [1, 2, 5])
def test_every_version_of_the_table_can_be_called_by_number(version: int) -> None:
    assert Router(table()).resolve("ranker", version=str(version)) == ("ranker", version)


def test_versions_are_listed_in_the_table_s_order() -> None:
    assert Router(table()).versions("ranker") == ("1", "2", "5")


def test_an_unknown_model_is_not_found() -> None:
    router = Router(table())
    for call in (
        lambda: router.resolve("nobody"),
        lambda: router.resolve("nobody", version="1"),
        lambda: router.resolve("nobody", label="stable"),
        lambda: router.versions("nobody"),
    ):
        with pytest.raises(ModelNotFound) as refused:
            call()
        assert str(refused.value) == "model 'nobody' is not served here"
        assert refused.value.details == {"model": "nobody"}


def test_an_unknown_version_is_not_found() -> None:
    with pytest.raises(ModelNotFound) as refused:
        Router(table()).resolve("ranker", version="3")
    assert str(refused.value) == "model 'ranker' has no version 3 here; callable: 1, 2, 5"
    assert refused.value.details == {"model": "ranker", "version": "3"}


def test_version_zero_is_not_found() -> None:
    with pytest.raises(ModelNotFound):
        Router(table()).resolve("ranker", version="0")


@pytest.mark.parametrize(("model", "listed"), [("ranker", "canary, old, stable"), ("digits", "none")])
def test_an_unknown_label_is_not_found(model: str, listed: str) -> None:
    with pytest.raises(ModelNotFound) as refused:
        Router(table()).resolve(model, label="beta")
    assert str(refused.value) == f"model '{model}' has no label 'beta'; labels: {listed}"
    assert refused.value.details == {"model": model, "label": "beta"}


def test_a_model_that_has_no_version_yet_is_not_ready_and_says_why() -> None:
    router = Router(table())
    for call in (
        lambda: router.resolve("resnet"),
        lambda: router.resolve("resnet", version="1"),
        lambda: router.resolve("resnet", label="stable"),
        lambda: router.versions("resnet"),
    ):
        with pytest.raises(ModelNotReady) as refused:
            call()
        assert str(refused.value) == "model 'resnet' can't be called now: it is loading; try again shortly"


def test_a_router_without_a_table_can_not_say_what_there_is() -> None:
    router = Router()
    assert router.table.number == 0
    with pytest.raises(ModelNotReady, match=r"^this gateway is starting and knows no models yet; try again shortly$"):
        router.resolve("digits")


def test_a_new_table_replaces_the_old_one_whole() -> None:
    router = Router(table())
    router.update(RoutingTable(2, "./store", (entry("ranker", 7),), {"ranker": ModelRoute(((7, 100),))}))
    assert router.resolve("ranker") == ("ranker", 7)
    assert router.versions("ranker") == ("7",)
    with pytest.raises(ModelNotFound):
        router.resolve("ranker", version="1")
    with pytest.raises(ModelNotFound):
        router.resolve("digits")
    with pytest.raises(ModelNotFound):
        router.resolve("resnet")


def test_an_alias_goes_before_a_number_of_the_store() -> None:
    route = ModelRoute(((1, 100),), aliases={"2": 1, "1.0": 5})
    versions = (entry("ranker", 1), entry("ranker", 2), entry("ranker", 5))
    router = Router(RoutingTable(1, "./store", versions, {"ranker": route}))
    assert [router.resolve("ranker", version=text)[1] for text in ("2", "1.0", "5", "1")] == [1, 5, 5, 1]
    assert router.name_of(("ranker", 5)) == "1.0"


def test_no_name_is_the_only_model_there_is() -> None:
    single = Router(RoutingTable(1, "./store", (entry("digits", 3),), {"digits": ModelRoute(((3, 100),))}))
    assert single.resolve("") == ("digits", 3)
    assert single.resolve("", version="3") == ("digits", 3)
    for several in (table(), RoutingTable(1, "./store")):
        with pytest.raises(InvalidInput, match=r"^Parameter model_name is required\.$"):
            Router(several).resolve("")
    with pytest.raises(ModelNotReady):
        Router().resolve("")
