"""The life of a version: loaded by every gateway, routed, drained, forgotten; gateways are reports here."""

from __future__ import annotations

import pytest

from serve.control.wanted import Wanted
from serve.reports import DRAINING, LOADING, READY
from serve.rollouts.sticky import Sticky
from serve.routing import Batching, ModelRoute, RoutingTable
from tests.serve.clusters import ROUTE_1, ROUTE_2, V1, V2, Cluster, adopt, serving, wanted
from tests.serve.tiny_versions import entry

# -- loading ---------------------------------------------------------------------------------------------------------


def test_a_version_is_routed_when_every_gateway_holds_it_ready() -> None:
    cluster = Cluster("a", "b")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}
    assert (cluster.held(), cluster.fleet.table.routes) == ([V1], {})
    assert cluster.fleet.table.unavailable == {"m": "it is loading; try again shortly"}

    cluster.say({V1: LOADING})
    assert cluster.phases() == {V1: "LOADING"}
    cluster.say({V1: READY}, "a")
    assert cluster.phases() == {V1: "LOADING"}
    assert cluster.fleet.table.routes == {}

    cluster.say({V1: READY}, "b")
    assert cluster.phases() == {V1: "READY"}
    assert (cluster.held(), cluster.fleet.table.routes) == ([V1], ROUTE_1)
    assert cluster.fleet.table.unavailable == {}


def test_without_gateways_nothing_gets_ready() -> None:
    cluster = Cluster()
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}


def test_a_gateway_that_never_heard_of_the_version_counts_as_loading() -> None:
    cluster = Cluster("a", "b")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: READY}, "a")
    cluster.say({}, "b")
    assert cluster.phases() == {V1: "LOADING"}


def test_traffic_and_labels_make_the_route() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1, 90, ("stable", "old")), wanted(2, 10, ("canary",)), wanted(3, 0)])
    cluster.step()
    cluster.say({V1: READY, V2: READY, ("m", 3): READY})
    assert cluster.fleet.table.routes == {
        "m": ModelRoute(((1, 90), (2, 10)), {"stable": 1, "old": 1, "canary": 2}),
    }


def test_new_shares_of_loaded_versions_are_routed_at_once() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1, 90), wanted(2, 10)])
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    cluster.fleet.want("m", [wanted(1, 50), wanted(2, 50)])
    cluster.step()
    assert cluster.fleet.table.routes == {"m": ModelRoute(((1, 50), (2, 50)))}


def test_a_table_gets_a_number_only_when_something_changed() -> None:
    cluster = serving()
    number = cluster.fleet.table.number
    cluster.step()
    cluster.say({V1: READY})
    assert cluster.fleet.table.number == number
    cluster.fleet.want("m", [wanted(1, batching=Batching(max_queue=5))])
    cluster.step()
    assert cluster.fleet.table.number == number + 1
    assert cluster.fleet.table.versions[0].serve.batching.max_queue == 5
    assert cluster.phases() == {V1: "READY"}


def test_numbers_begin_above_those_of_earlier_controllers() -> None:
    cluster = Cluster("a", number=100)
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.fleet.table.number == 101


# -- from one version to the next ------------------------------------------------------------------------------------


def test_the_old_version_answers_until_the_new_one_is_ready() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)])
    cluster.step()
    assert cluster.phases() == {V1: "READY", V2: "LOADING"}
    assert (cluster.held(), cluster.fleet.table.routes) == ([V1, V2], ROUTE_1)
    assert cluster.fleet.table.unavailable == {}

    cluster.say({V1: READY, V2: LOADING})
    assert cluster.fleet.table.routes == ROUTE_1

    cluster.say({V1: READY, V2: READY})
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}
    assert (cluster.held(), cluster.fleet.table.routes) == ([V2], ROUTE_2)


def test_the_old_version_is_forgotten_when_every_gateway_has_let_it_go() -> None:
    cluster = Cluster("a", "b")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: READY})
    cluster.fleet.want("m", [wanted(2)])
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}

    cluster.say({V2: READY}, "a")
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}
    cluster.say({V1: DRAINING, V2: READY}, "b")
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}
    cluster.say({V2: READY}, "b")
    assert cluster.phases() == {V2: "READY"}


def test_a_gateway_that_has_not_taken_over_the_newest_table_keeps_the_old_version_alive() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)])
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    old_table = cluster.fleet.table.number - 1
    cluster.tables["a"], cluster.states["a"] = old_table, {V2: READY}
    cluster.step()
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}
    cluster.say({V2: READY})
    assert cluster.phases() == {V2: "READY"}


def test_several_new_versions_take_over_together() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2, 50), wanted(3, 50)])
    cluster.step()
    cluster.say({V1: READY, V2: READY, ("m", 3): LOADING})
    assert cluster.fleet.table.routes == ROUTE_1
    cluster.say({V1: READY, V2: READY, ("m", 3): READY})
    assert cluster.fleet.table.routes == {"m": ModelRoute(((2, 50), (3, 50)))}


def test_a_gateway_that_joins_later_takes_no_route_away() -> None:
    cluster = serving(1)
    cluster.states["late"], cluster.tables["late"] = {}, 0
    cluster.step()
    cluster.say({V1: LOADING}, "late")
    assert cluster.fleet.table.routes == ROUTE_1


# -- failures --------------------------------------------------------------------------------------------------------


def test_a_version_that_can_not_be_loaded_leaves_the_old_one_serving_and_says_why() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)])
    cluster.step()
    cluster.say({V1: READY, V2: "blob 1a2b differs from its digest"})
    assert cluster.phases() == {V1: "READY", V2: "FAILED"}
    assert cluster.fleet.versions[V2].reason == "blob 1a2b differs from its digest"
    assert (cluster.held(), cluster.fleet.table.routes) == ([V1], ROUTE_1)
    assert cluster.fleet.table.unavailable == {}


def test_the_first_version_s_failure_is_the_model_s_reason() -> None:
    cluster = Cluster("a", "b")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: READY}, "a")
    cluster.say({V1: "no memory left"}, "b")
    assert cluster.phases() == {V1: "FAILED"}
    assert (cluster.held(), cluster.fleet.table.routes) == ([], {})
    assert cluster.fleet.table.unavailable == {"m": "no memory left"}


def test_a_failed_version_is_tried_again_when_it_is_wanted_again() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: "no memory left"})
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}
    assert cluster.held() == [V1]
    cluster.say({V1: READY})
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.versions[V1].reason is None


def test_a_version_that_fails_and_is_wanted_again_within_a_step_is_loaded_anew() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.say({V1: LOADING})
    number = cluster.fleet.table.number
    cluster.fleet.fail(V1, "Ray Serve refused")
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.fleet.table.number == number + 1
    cluster.say({V1: READY})
    assert cluster.phases() == {V1: "READY"}


def test_a_failed_version_that_nobody_wants_any_more_is_forgotten() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)])
    cluster.step()
    cluster.say({V1: READY, V2: "no memory left"})
    cluster.say({V1: READY})
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.phases() == {V1: "READY", V2: "DRAINING"}
    cluster.say({V1: READY})
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.table.routes == ROUTE_1


def test_a_version_that_serves_does_not_fail_by_a_late_report() -> None:
    cluster = serving(1)
    cluster.fleet.fail(V1, "too late")
    cluster.say({V1: "a replica's trouble"})
    assert cluster.phases() == {V1: "READY"}
    assert cluster.fleet.table.routes == ROUTE_1


def test_a_conversion_that_failed_is_the_reason_of_a_model_without_versions() -> None:
    cluster = Cluster("a")
    cluster.fleet.unavailable["m"] = "outputs differ by 3%"
    cluster.step()
    assert cluster.fleet.table.unavailable == {"m": "outputs differ by 3%"}
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.fleet.table.unavailable == {"m": "it is loading; try again shortly"}


def test_a_conversion_that_failed_leaves_the_old_version_serving() -> None:
    cluster = serving(1)
    cluster.fleet.unavailable["m"] = "outputs differ by 3%"
    cluster.step()
    assert cluster.fleet.table.routes == ROUTE_1
    assert cluster.fleet.table.unavailable == {}


# -- retiring --------------------------------------------------------------------------------------------------------


def test_a_retired_model_loses_its_route_at_once_and_is_forgotten_when_drained() -> None:
    cluster = serving(1)
    cluster.fleet.retire("m")
    cluster.step()
    assert cluster.phases() == {V1: "DRAINING"}
    assert (cluster.held(), cluster.fleet.table.routes, cluster.fleet.table.unavailable) == ([], {}, {})
    cluster.say({V1: DRAINING})
    assert cluster.phases() == {V1: "DRAINING"}
    cluster.say({})
    assert cluster.phases() == {}


def test_a_version_wanted_again_while_it_drains_begins_a_new_life() -> None:
    cluster = serving(1)
    cluster.fleet.retire("m")
    cluster.step()
    cluster.say({V1: DRAINING})
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}
    assert cluster.held() == [V1]
    cluster.say({V1: READY})
    assert cluster.fleet.table.routes == ROUTE_1


@pytest.mark.parametrize("said", [READY, "no memory left"])
def test_reports_about_an_earlier_life_are_ignored(said: str) -> None:
    cluster = serving(1)
    cluster.fleet.retire("m")
    cluster.step()
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    cluster.tables["a"] = cluster.fleet.table.number - 1
    cluster.states["a"] = {V1: said}
    cluster.step()
    assert cluster.phases() == {V1: "LOADING"}
    cluster.say({V1: READY})
    assert cluster.phases() == {V1: "READY"}


# -- kept for a rollback ---------------------------------------------------------------------------------------------


def replaced(keep_previous_s: float) -> Cluster:
    """A cluster that serves version 2, which has just replaced version 1."""
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)], keep_previous_s)
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    assert cluster.fleet.table.routes == ROUTE_2
    return cluster


def test_a_replaced_version_drains_at_once_unless_somebody_wants_it_kept() -> None:
    assert replaced(0.0).phases() == {V1: "DRAINING", V2: "READY"}


def test_a_replaced_version_stays_loaded_for_as_long_as_it_is_to_be_kept() -> None:
    cluster = replaced(60.0)
    cluster.now = 59.0
    cluster.say({V1: READY, V2: READY})
    assert (cluster.phases(), cluster.held()) == ({V1: "READY", V2: "READY"}, [V1, V2])
    cluster.now = 60.0
    cluster.step()
    assert (cluster.phases(), cluster.held()) == ({V1: "DRAINING", V2: "READY"}, [V2])


def test_a_version_without_traffic_stays_until_what_comes_in_its_place_is_ready() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1, 0), wanted(2, 100)])
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    cluster.fleet.want("m", [wanted(2, 0), wanted(3, 100)])
    cluster.step()
    cluster.say({V1: READY, V2: READY, ("m", 3): LOADING})
    assert cluster.held() == [V1, V2, ("m", 3)]
    cluster.say({V1: READY, V2: READY, ("m", 3): READY})
    assert (cluster.held(), cluster.fleet.table.routes) == ([V2, ("m", 3)], {"m": ModelRoute(((3, 100),))})


def test_a_kept_version_is_routed_to_in_one_step() -> None:
    cluster = replaced(60.0)
    cluster.fleet.want("m", [wanted(1)], 60.0)
    cluster.step()
    assert (cluster.fleet.table.routes, cluster.phases()) == (ROUTE_1, {V1: "READY", V2: "READY"})
    cluster.now = 61.0
    cluster.say({V1: READY, V2: READY})
    assert cluster.phases() == {V1: "READY", V2: "DRAINING"}


def test_a_kept_version_that_is_released_drains() -> None:
    cluster = replaced(60.0)
    cluster.fleet.release("m")
    cluster.step()
    assert cluster.phases() == {V1: "DRAINING", V2: "READY"}


def test_a_retired_model_keeps_nothing() -> None:
    cluster = replaced(60.0)
    cluster.fleet.retire("m")
    cluster.step()
    assert cluster.phases() == {V1: "DRAINING", V2: "DRAINING"}


def test_a_version_that_failed_is_not_kept() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(2)], 60.0)
    cluster.step()
    cluster.say({V1: READY, V2: "it is damaged"})
    cluster.fleet.want("m", [wanted(1)], 60.0)
    cluster.step()
    assert cluster.phases() == {V1: "READY", V2: "DRAINING"}


def test_a_model_is_served_when_its_route_leads_to_what_is_wanted() -> None:
    cluster = serving(1)
    assert cluster.fleet.is_served("m")
    assert not cluster.fleet.is_served("other")
    cluster.fleet.want("m", [wanted(2)])
    assert not cluster.fleet.is_served("m")
    cluster.step()
    cluster.say({V1: READY, V2: LOADING})
    assert not cluster.fleet.is_served("m")
    cluster.say({V1: READY, V2: READY})
    assert cluster.fleet.is_served("m")


def test_a_model_whose_change_of_traffic_has_not_reached_the_route_is_not_served() -> None:
    cluster = serving(1)
    cluster.fleet.want("m", [wanted(1, labels=("stable",))])
    assert not cluster.fleet.is_served("m")
    cluster.step()
    assert cluster.fleet.is_served("m")


# -- shadows ----------------------------------------------------------------------------------------------------------


def test_a_shadow_is_in_the_route_without_a_share_of_it() -> None:
    cluster = Cluster("a")
    sticky = Sticky("x-user")
    shadow = Wanted(entry("m", 2), 0, shadow_percent=25.0, sticky=sticky)
    cluster.fleet.want("m", [Wanted(entry("m", 1), 100, sticky=sticky), shadow])
    cluster.step()
    cluster.say({V1: READY})
    assert cluster.fleet.table.routes == {}
    cluster.say({V1: READY, V2: READY})
    assert cluster.fleet.table.routes == {"m": ModelRoute(((1, 100),), shadows=((2, 25.0),), sticky=sticky)}


def test_a_shadow_that_is_no_longer_wanted_drains_after_its_route() -> None:
    cluster = Cluster("a")
    cluster.fleet.want("m", [wanted(1), Wanted(entry("m", 2), 0, shadow_percent=100.0)])
    cluster.step()
    cluster.say({V1: READY, V2: READY})
    cluster.fleet.want("m", [wanted(1)])
    cluster.step()
    assert cluster.fleet.table.routes == ROUTE_1
    assert cluster.phases() == {V1: "READY", V2: "DRAINING"}


def test_an_adopted_route_keeps_its_shadow_until_the_model_is_prepared() -> None:
    cluster = Cluster("a")
    route = ModelRoute(((1, 100),), shadows=((2, 100.0),))
    cluster.fleet.name("m")
    adopt(cluster, RoutingTable(50, "./store", (entry("m", 1), entry("m", 2)), {"m": route}), V1, V2)
    cluster.states["a"] = {V1: READY, V2: READY}
    cluster.step()
    assert cluster.fleet.table.routes == {"m": route}
    assert cluster.phases() == {V1: "READY", V2: "READY"}
