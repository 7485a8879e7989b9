"""Header blocks against their table: what is sent in short has to be read as it is meant at that moment (RFC 7541)."""

from __future__ import annotations

import hpack
import pytest

from tests.serve.front_doors.http2_bytes import (
    Flag,
    Setting,
    data,
    headers,
    integer,
    literal,
    message,
    request,
    reset,
    text,
)
from tests.serve.front_doors.http2_peer import peer_of
from tests.serve.front_doors.http2_service import Served
from tests.serve.front_doors.http2_wire import Wire, greeted

POST_HTTP = b"\x83\x86"
"""`:method: POST` and `:scheme: http` of the static table."""
SAY = b"\x44" + text(b"/test.Echo/Say")
"""A path that is put into the table; it is then 62, the first entry after the static ones."""
SHOUT = b"\x44" + text(b"/test.Echo/Shout")
TYPE = b"\x5f" + text(b"application/grpc")
"""The content type, which is put into the table."""
TYPE_ONCE = b"\x0f\x10" + text(b"application/grpc")
"""The content type, which is not put into the table."""
TWO_ENTRIES = POST_HTTP + SAY + TYPE
"""A request that leaves its type at 62 and its path at 63."""
REPEATED = POST_HTTP + b"\xbf\xbe"
"""A request that has its type at 62 and its path at 63."""
EMPTY_TABLE = b"\x20"
FULL_TABLE = integer(4096, 5, 0x20)


class Blocks:
    """Calls with header blocks as they are."""

    def __init__(self, wire: Wire) -> None:
        self.wire, self._next = wire, 1

    def send(self, block: bytes) -> int:
        stream, self._next = self._next, self._next + 2
        self.wire.send(headers(stream, block), data(stream, message(b"Hello")))
        return stream

    async def call(self, block: bytes) -> list[bytes]:
        """What the call is answered: as it is by Say, in capitals by Shout."""
        return (await self.wire.answer(self.send(block))).messages

    async def refused(self, block: bytes) -> None:
        """It must be no header block."""
        assert await self.wire.told(self.send(block)) == ("connection", "COMPRESSION_ERROR")


@pytest.fixture
async def blocks(wire: Wire) -> Blocks:
    return Blocks(wire)


# -- blocks that mean something else each time -----------------------------------------------------------------------


async def test_the_same_block_means_what_the_table_says_at_that_moment(blocks: Blocks) -> None:
    assert await blocks.call(TWO_ENTRIES) == [b"Hello"]
    for _ in range(20):
        assert await blocks.call(REPEATED) == [b"Hello"]
    assert await blocks.call(POST_HTTP + SHOUT + TYPE) == [b"HELLO"]
    for _ in range(20):
        assert await blocks.call(REPEATED) == [b"HELLO"]
    assert await blocks.call(TWO_ENTRIES) == [b"Hello"]
    assert await blocks.call(REPEATED) == [b"Hello"]
    assert await blocks.call(POST_HTTP + b"\xc1\xc0") == [b"HELLO"]


async def test_blocks_of_calls_sent_together_each_see_the_table_of_their_place(blocks: Blocks) -> None:
    sent = [TWO_ENTRIES, REPEATED, POST_HTTP + SHOUT + TYPE, REPEATED, TWO_ENTRIES, REPEATED]
    streams = [blocks.send(block) for block in sent]
    answers = [(await blocks.wire.answer(stream)).messages for stream in streams]
    assert answers == [[b"Hello"], [b"Hello"], [b"HELLO"], [b"HELLO"], [b"Hello"], [b"Hello"]]


async def test_connections_have_tables_of_their_own(served: Served) -> None:
    async with greeted(served.port) as one, greeted(served.port) as other, greeted(served.port) as third:
        first, second = Blocks(one), Blocks(other)
        await first.call(TWO_ENTRIES)
        await second.call(POST_HTTP + SHOUT + TYPE)
        for _ in range(5):
            assert await first.call(REPEATED) == [b"Hello"]
            assert await second.call(REPEATED) == [b"HELLO"]
        await Blocks(third).refused(REPEATED)


async def test_a_block_that_adds_to_the_table_adds_each_time(blocks: Blocks) -> None:
    await blocks.call(POST_HTTP + SHOUT + TYPE)
    for _ in range(3):
        assert await blocks.call(TWO_ENTRIES) == [b"Hello"]
    # Three times two entries before those of the first call.
    assert await blocks.call(POST_HTTP + b"\xc5\xc4") == [b"HELLO"]
    for _ in range(100):
        assert await blocks.call(TWO_ENTRIES) == [b"Hello"]
    assert await blocks.call(POST_HTTP + b"\xc5\xc4") == [b"Hello"]


async def test_a_block_that_empties_the_table_empties_it_each_time(blocks: Blocks) -> None:
    emptying = EMPTY_TABLE + FULL_TABLE + literal(request())
    assert await blocks.call(emptying) == [b"Hello"]
    assert await blocks.call(TWO_ENTRIES) == [b"Hello"]
    assert await blocks.call(REPEATED) == [b"Hello"]
    assert await blocks.call(emptying) == [b"Hello"]
    await blocks.refused(REPEATED)


@pytest.mark.parametrize("repeated", [1, 4])
async def test_an_entry_that_had_to_go_is_not_there_any_more(blocks: Blocks, repeated: int) -> None:
    await blocks.call(TWO_ENTRIES)
    for _ in range(repeated):
        assert await blocks.call(REPEATED) == [b"Hello"]
    await blocks.call(literal(request()) + b"\x40" + text(b"x-a") + text(b"a" * 4050))
    await blocks.refused(REPEATED)


async def test_an_entry_larger_than_the_table_empties_it(blocks: Blocks) -> None:
    await blocks.call(TWO_ENTRIES)
    assert await blocks.call(literal(request()) + b"\x40" + text(b"x-a") + text(b"a" * 4100)) == [b"Hello"]
    await blocks.refused(POST_HTTP + b"\xbe")


async def test_a_smaller_table_drops_what_has_no_place(blocks: Blocks) -> None:
    await blocks.call(TWO_ENTRIES)
    await blocks.call(POST_HTTP + SAY + TYPE_ONCE)
    # :path and /test.Echo/Say are 19 bytes, an entry has 32 more.
    assert await blocks.call(integer(51, 5, 0x20) + POST_HTTP + b"\xbe" + TYPE_ONCE) == [b"Hello"]
    await blocks.refused(POST_HTTP + b"\xbe\xbf")


async def test_the_name_of_an_entry_serves_another_value(blocks: Blocks) -> None:
    await blocks.call(TWO_ENTRIES)
    shout = text(b"/test.Echo/Shout")
    assert await blocks.call(POST_HTTP + b"\x0f\x30" + shout + b"\xbe") == [b"HELLO"]
    assert await blocks.call(POST_HTTP + b"\x7f\x00" + shout + b"\xbf") == [b"HELLO"]
    assert await blocks.call(POST_HTTP + b"\xbe\xbf") == [b"HELLO"]


@pytest.mark.parametrize("first", [b"\x82\x86" + SAY + TYPE, TWO_ENTRIES + b"\x84"], ids=["GET", "malformed"])
async def test_the_headers_of_a_request_that_is_refused_are_in_the_table(blocks: Blocks, first: bytes) -> None:
    blocks.send(first)
    assert await blocks.call(REPEATED) == [b"Hello"]


async def test_the_headers_of_a_stream_that_is_reset_are_in_the_table(blocks: Blocks) -> None:
    blocks.wire.send(reset(blocks.send(TWO_ENTRIES)))
    assert await blocks.call(REPEATED) == [b"Hello"]


async def test_the_headers_of_a_stream_too_many_are_in_the_table(wire: Wire) -> None:
    most = wire.settings[Setting.MAX_CONCURRENT_STREAMS]
    wire.send(*(headers(2 * number + 1, request("Wait")) for number in range(most)))
    beyond = 2 * most + 1
    wire.send(headers(beyond, TWO_ENTRIES))
    assert await wire.told(beyond) == ("stream", "REFUSED_STREAM")
    wire.send(reset(1), headers(beyond + 2, REPEATED), data(beyond + 2, message(b"Hello")))
    assert (await wire.answer(beyond + 2)).messages == [b"Hello"]


async def test_trailers_are_in_the_table(wire: Wire) -> None:
    wire.send(headers(1, request()), data(1, message(b"Hello"), end=False))
    wire.send(headers(1, TYPE + b"\x40" + text(b"x-a") + text(b"b"), Flag.END_HEADERS | Flag.END_STREAM))
    wire.send(headers(3, POST_HTTP + SHOUT + b"\xc0"), data(3, message(b"Hello")))
    assert (await wire.answer(1)).messages == [b"Hello"]
    assert (await wire.answer(3)).messages == [b"HELLO"]


# -- forms of blocks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("huffman", [True, False])
async def test_many_calls_of_an_encoder_are_read(served: Served, wire: Wire, huffman: bool) -> None:
    encoder = hpack.Encoder()
    for number in range(200):
        if number % 50 == 30:
            encoder.header_table_size = (0, 100, 4096, 1000)[number // 50]
        method = ("Say", "Shout")[number // 3 % 2]
        fields = [*request(method), ("x-id", f"{number} ~" * 20), ("x-group", f"{number // 7}")]
        wire.send(headers(2 * number + 1, encoder.encode(fields, huffman)), data(2 * number + 1, message(b"Hello")))
        answer = await wire.answer(2 * number + 1)
        assert answer.messages == [b"Hello" if method == "Say" else b"HELLO"], number


@pytest.mark.parametrize("first", [0x00, 0x10, 0x40], ids=["not kept", "never kept", "kept"])
async def test_literals_of_each_kind_are_read(blocks: Blocks, first: int) -> None:
    block = b"".join(bytes([first]) + text(name.encode()) + text(value.encode()) for name, value in request("Shout"))
    assert await blocks.call(block) == [b"HELLO"]
    assert await blocks.call(block) == [b"HELLO"]


async def test_every_character_is_read_from_its_huffman_code(served: Served, wire: Wire) -> None:
    everything = "".join(chr(code) for code in range(0x20, 0x100) if code != 0x7F).strip()
    encoder = hpack.Encoder()
    wire.send(headers(1, encoder.encode([*request("Shout"), ("x-a", everything.encode("latin-1"))])))
    wire.send(data(1, message(b"a")))
    assert (await wire.answer(1)).messages == [b"A"]


# -- what is no header block -----------------------------------------------------------------------------------------

WRONG = {
    "entry 0": b"\x80",
    "an entry that was never made": b"\xbe",
    "a name that was never made": b"\x7e\x01a",
    "an entry far away": b"\xff\xff\xff\x03",
    "a number without end": b"\xff" + b"\xff" * 40 + b"\x01",
    "a number that is cut off": b"\xff\xff",
    "a name that is cut off": b"\x40\x05abc",
    "a value that is cut off": b"\x40\x01a\x7f\xff\x01abc",
    "no value": b"\x40\x01a",
    "no name": b"\x40",
    "Huffman's end of string": b"\x40\x01a\x84\xff\xff\xff\xff",
    "padding of a byte": b"\x40\x01a\x82\x1f\xff",
    "padding of zeros": b"\x40\x01a\x81\x18",
    "a table larger than announced": integer(1 << 20, 5, 0x20),
    "a table's size after a field": b"\x83" + FULL_TABLE,
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_no_header_block_ends_the_connection(served: Served, blocks: Blocks, case: str) -> None:
    right = literal(request())
    await blocks.refused(WRONG[case] + right if case.startswith("a table larger") else right + WRONG[case])
    assert served.echo.asked == []


# -- the server's own table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 64, 4096, 65_536])
async def test_the_server_keeps_to_the_client_s_table(served: Served, size: int) -> None:
    async with peer_of(served.port, {Setting.HEADER_TABLE_SIZE: size}) as peer:
        for number in range(3):
            assert (await peer.call("Say", b"%d" % number)).messages == [b"%d" % number]
            assert (await peer.call("Fail", b"no %d" % number)).text == f"no {number}"


async def test_the_server_keeps_to_a_table_that_becomes_smaller(served: Served) -> None:
    async with peer_of(served.port) as peer:
        for size in (4096, 0, 4096, 100, 0, 1000):
            peer.change({Setting.HEADER_TABLE_SIZE: size})
            await peer.settled()
            assert (await peer.call("Say", b"a")).messages == [b"a"]
            assert (await peer.call("Fail", b"no")).text == "no"
