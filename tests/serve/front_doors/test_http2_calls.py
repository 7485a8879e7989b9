"""gRPC calls in HTTP/2: their head, their status, their deadline (gRPC's PROTOCOL-HTTP2.md)."""

from __future__ import annotations

import re

import pytest

from tests.serve.front_doors.http2_bytes import Flag, Kind, call, data, headers, message, request
from tests.serve.front_doors.http2_peer import peer_of
from tests.serve.front_doors.http2_service import Served
from tests.serve.front_doors.http2_wire import Wire
from tests.serve.waiting import eventually

# -- the forms of answers --------------------------------------------------------------------------------------------


async def test_an_answer_is_headers_a_message_and_trailers(wire: Wire) -> None:
    wire.send(call(1))
    answer = await wire.answer(1)
    assert answer.headers[":status"] == "200"
    assert answer.headers["content-type"].startswith("application/grpc")
    assert "grpc-status" not in answer.headers
    assert answer.content == b"\0\0\0\0\5hello"
    assert answer.trailers == {"grpc-status": "0"} or answer.trailers == {"grpc-status": "0", "grpc-message": ""}


async def test_several_answers_are_one_behind_the_other(wire: Wire) -> None:
    wire.send(call(1, b"3", "Count"))
    assert (await wire.answer(1)).content == b"\0\0\0\0\0010\0\0\0\0\0011\0\0\0\0\0012"


async def test_no_answer_at_all_has_headers_and_trailers(wire: Wire) -> None:
    wire.send(call(1, b"0", "Count"))
    answer = await wire.answer(1)
    assert (answer.headers[":status"], answer.code, answer.messages) == ("200", "OK", [])


@pytest.mark.parametrize(
    ("method", "code"), [("Fail", "INVALID_ARGUMENT"), ("Nothing", "UNIMPLEMENTED"), ("say", "UNIMPLEMENTED")]
)
async def test_an_error_is_headers_only(wire: Wire, method: str, code: str) -> None:
    wire.send(call(1, b"it is wrong", method))
    came = [each for each in await wire.settled() if each.stream == 1 and each.kind != Kind.RST_STREAM]
    assert [(each.kind, each.flags) for each in came] == [(Kind.HEADERS, Flag.END_HEADERS | Flag.END_STREAM)]
    answer = wire.answers[1]
    assert (answer.code, answer.headers[":status"]) == (code, "200")
    assert answer.headers["content-type"].startswith("application/grpc")
    assert answer.text == "it is wrong" if method == "Fail" else answer.text


@pytest.mark.parametrize(
    "path", ["/", "/test.Echo", "/test.Echo/", "test.Echo/Say", "//Say", "/a/b/c", "/%74est.Echo/Say"]
)
async def test_a_path_that_names_no_method_is_unimplemented(served: Served, wire: Wire, path: str) -> None:
    fields = [(":path", path) if name == ":path" else (name, value) for name, value in request()]
    wire.send(headers(1, fields), data(1, message(b"a")))
    assert (await wire.answer(1)).code in ("UNIMPLEMENTED", "reset 1")
    assert served.echo.asked == []


@pytest.mark.parametrize(
    "told", ["plain text", "100 % größer: 例\U0001f600", "a\nb\tc", " at both ends ", "%41", "~\x7f\x01"]
)
async def test_a_text_is_percent_encoded(served: Served, told: str) -> None:
    async with peer_of(served.port) as peer:
        answer = await peer.call("Fail", told.encode())
    sent = answer.headers["grpc-message"]
    assert re.fullmatch("([ -$&-~]|%[0-9A-F]{2})+", sent)
    assert sent == sent.strip()
    assert (answer.code, answer.text) == ("INVALID_ARGUMENT", told)


# -- the head of a call ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"])
async def test_a_content_type_of_grpc_is_taken(wire: Wire, kind: str) -> None:
    wire.send(call(1, content_type=kind))
    assert (await wire.answer(1)).code == "OK"


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "", None])
async def test_another_content_type_is_unsupported(served: Served, wire: Wire, kind: str | None) -> None:
    wire.send(call(1, content_type=kind), call(3))
    answer = await wire.answer(1)
    assert answer.headers[":status"] == "415"
    assert (await wire.answer(3)).code == "OK"
    assert served.echo.asked == [b"hello"]


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "post", "X"])
async def test_another_method_than_post_is_not_allowed(served: Served, wire: Wire, method: str) -> None:
    fields = [(":method", method), *request()[1:]]
    wire.send(headers(1, fields), data(1, message(b"a")))
    assert (await wire.answer(1)).headers[":status"] == "405"
    assert served.echo.asked == []


async def test_a_tunnel_is_not_offered(served: Served, wire: Wire) -> None:
    """CONNECT has neither scheme nor path (RFC 9113, 8.5)."""
    wire.send(headers(1, [(":method", "CONNECT"), (":authority", "localhost:80")]))
    assert (await wire.answer(1)).code in ("status 405", "status 501", "reset 1")
    wire.send(call(3))
    assert (await wire.answer(3)).code == "OK"


# -- time ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [
        ("2H", 7200),
        ("3M", 180),
        ("50S", 50),
        ("90000m", 90),
        ("60000000u", 60),
        ("99999999n", 0.099999999),
        ("99999999H", 359999996400),
        ("00000007S", 7),
    ],
)
async def test_each_unit_of_a_timeout_is_understood(wire: Wire, timeout: str, seconds: float) -> None:
    wire.send(call(1, method="Left", grpc_timeout=timeout))
    (left,) = (await wire.answer(1)).messages
    assert float(left) == pytest.approx(seconds, abs=0.09)


async def test_without_a_timeout_there_is_none(wire: Wire) -> None:
    wire.send(call(1, method="Left"))
    assert (await wire.answer(1)).messages == [b"None"]


@pytest.mark.parametrize(
    "timeout",
    ["", "5", "S", "-1S", "+1S", "1.5S", "1e3m", "123456789S", "5s", "5X", " 5S", "5 S", "٣S", "0x5S", "5SS", "1_0S"],
)
async def test_a_timeout_that_is_none_is_the_client_s_mistake_or_unheard(wire: Wire, timeout: str) -> None:
    encoded = timeout.encode().decode("latin-1")
    wire.send(call(1, method="Left", grpc_timeout=encoded))
    answer = await wire.answer(1)
    assert answer.messages == [b"None"] or answer.code in ("INVALID_ARGUMENT", "INTERNAL", "status 400", "reset 1")


@pytest.mark.parametrize("timeout", ["0S", "0n", "1n"])
async def test_a_timeout_that_is_over_at_once_is_exceeded(wire: Wire, timeout: str) -> None:
    wire.send(call(1, method="Wait", grpc_timeout=timeout))
    assert (await wire.answer(1)).code in ("DEADLINE_EXCEEDED", "reset 8")


async def test_work_ends_with_its_deadline(served: Served, wire: Wire) -> None:
    wire.send(call(1, method="Wait", grpc_timeout="50m"), headers(3, request("Each", grpc_timeout="50m")))
    assert (await wire.answer(1)).code in ("DEADLINE_EXCEEDED", "reset 8")
    assert (await wire.answer(3)).code in ("DEADLINE_EXCEEDED", "reset 8")
    await eventually(lambda: served.echo.under_way == 0)
    assert served.echo.cancelled == 1


async def test_a_body_that_stalls_is_given_up_at_its_deadline(served: Served, wire: Wire) -> None:
    wire.send(headers(1, request(grpc_timeout="50m")), data(1, message(bytes(100))[:50], end=False))
    assert (await wire.answer(1)).code in ("DEADLINE_EXCEEDED", "reset 8")
    assert served.echo.asked == []


# -- streams both ways -----------------------------------------------------------------------------------------------


async def test_each_message_of_a_stream_is_answered_as_it_comes(served: Served) -> None:
    async with peer_of(served.port) as peer:
        stream = peer.open("Each")
        for number in range(5):
            await peer.send(stream, message(b"%d" % number), end=False)
            expected = b"".join(message(b"%d" % each) for each in range(number + 1))
            await peer.until(lambda expected=expected: peer.answers[stream].content == expected)  # type: ignore[misc]
        await peer.send(stream, b"")
        assert (await peer.answer(stream)).code == "OK"


async def test_a_half_closed_stream_gets_the_rest_of_its_answers(served: Served) -> None:
    served.echo.gate.clear()
    async with peer_of(served.port) as peer:
        stream = peer.open("Each")
        await peer.send(stream, b"".join(message(b"%d" % number) for number in range(10)))
        await eventually(lambda: served.echo.under_way == 10)
        served.echo.gate.set()
        assert (await peer.answer(stream)).messages == [b"%d" % number for number in range(10)]


async def test_a_stream_without_a_message_ends_well(wire: Wire) -> None:
    wire.send(headers(1, request("Each"), Flag.END_HEADERS | Flag.END_STREAM), headers(3, request("Each")), data(3))
    assert [(await wire.answer(stream)).code for stream in (1, 3)] == ["OK", "OK"]


async def test_a_client_that_leaves_ends_its_streams(served: Served) -> None:
    served.echo.gate.clear()
    async with peer_of(served.port) as peer:
        await peer.send(peer.open("Each"), message(b"a") * 3, end=False)
        await eventually(lambda: served.echo.under_way == 3)
    await eventually(lambda: served.echo.under_way == 0)
    assert served.echo.cancelled == 3
