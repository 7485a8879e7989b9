"""Headers of W3C Trace Context and Baggage."""

from __future__ import annotations

import re

import pytest

from serve.tracing.context import TraceContext, begun, passed_on, received

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"


def test_a_callers_context_is_taken_over_with_a_span_of_our_own() -> None:
    sent = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": "a=1,b=2", "baggage": "shop=7"}
    context = received(sent.get)
    assert context is not None
    assert (context.trace_id, context.parent_id, context.sampled) == (TRACE, CALLER, True)
    assert (context.state, context.baggage) == ("a=1,b=2", "shop=7")
    assert re.fullmatch("[0-9a-f]{16}", context.span_id)
    assert context.span_id != CALLER


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_the_lowest_flag_is_the_callers_decision(flags: str, sampled: bool) -> None:
    context = received({"traceparent": f"00-{TRACE}-{CALLER}-{flags}"}.get)
    assert context is not None
    assert context.sampled is sampled


def test_later_versions_may_have_more_behind_the_flags() -> None:
    context = received({"traceparent": f"01-{TRACE}-{CALLER}-01-more"}.get)
    assert context is not None
    assert context.trace_id == TRACE


@pytest.mark.parametrize(
    "parent",
    [
        "", "00", f"00-{TRACE}-{CALLER}", f"00-{TRACE}-{CALLER}-1", f"00-{TRACE}-{CALLER}-01-more",
        f"ff-{TRACE}-{CALLER}-01", f"00-{'0' * 32}-{CALLER}-01", f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{CALLER}-01", f"00-{TRACE[1:]}-{CALLER}-01", f" 00-{TRACE}-{CALLER}-01",
        f"00-{TRACE}-{CALLER}-01, 00-{TRACE}-{CALLER}-01",
    ],
)  # fmt: skip
def test_what_is_no_context_is_none(parent: str) -> None:
    assert received({"traceparent": parent}.get) is None


def test_without_a_header_there_is_no_context() -> None:
    assert received({}.get) is None


@pytest.mark.parametrize("state", ["a=" + "1" * 511, "a=1\r\nx: y", "ä=1"])
def test_a_state_that_can_not_be_handed_on_is_left_out(state: str) -> None:
    context = received({"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": state}.get)
    assert context is not None
    assert context.state == ""


def test_another_server_is_told_of_the_span_that_it_works_for() -> None:
    context = TraceContext(TRACE, "1" * 16, CALLER, True, "a=1", "shop=7")
    assert context.headers("2" * 16) == (
        ("traceparent", f"00-{TRACE}-{'2' * 16}-01"),
        ("tracestate", "a=1"),
        ("baggage", "shop=7"),
    )
    assert context.response == f"00-{TRACE}-{'1' * 16}-01"


def test_a_context_is_passed_on_as_it_came() -> None:
    parent = f"01-{TRACE}-{CALLER}-03-more"
    sent = {"traceparent": parent, "tracestate": "a=1", "baggage": "shop=7", "accept": "*/*"}
    assert passed_on(sent.get) == (("traceparent", parent), ("tracestate", "a=1"), ("baggage", "shop=7"))
    assert passed_on({"traceparent": parent, "tracestate": "a=\n"}.get) == (("traceparent", parent),)


@pytest.mark.parametrize("parent", [None, "", f"00-{TRACE}-{CALLER}", f"01-{TRACE}-{CALLER}-01-\u00fc"])
def test_what_is_no_context_is_not_passed_on(parent: str | None) -> None:
    assert passed_on({"traceparent": parent, "tracestate": "a=1", "baggage": "shop=7"}.get) == ()


def test_a_trace_that_begins_here_has_no_parent_and_hands_baggage_on() -> None:
    context = begun({"baggage": "shop=7", "tracestate": "a=1"}.get, sampled=True)
    assert re.fullmatch("[0-9a-f]{32}", context.trace_id)
    assert (context.parent_id, context.state, context.baggage, context.sampled) == ("", "", "shop=7", True)
