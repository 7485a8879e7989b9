"""What frames mean that carry no request: SETTINGS, windows, PING and the like (RFC 9113, section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve.front_doors.http2_frames import (
    ACK,
    LARGEST_WINDOW,
    PING,
    SETTINGS,
    SETTINGS_ACK,
    Code,
    ConnectionFault,
    Setting,
    StreamFault,
    frame,
    number_in,
    settings_in,
)

if TYPE_CHECKING:
    from serve.front_doors.http2_connection import Http2Connection

GOODBYE = b"goodbye!"
"""The PING behind a GOAWAY: a client that answers it has read that."""


def on_settings(connection: Http2Connection, number: int, flags: int, payload: bytes) -> None:
    """The client says how it wants to be sent to, or that it has read how we want to be."""
    if number:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS are of no stream")
    connection.chatter.spend()
    if flags & ACK:
        if payload:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS is empty")
        if connection.expected_kind == SETTINGS:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "expected the client's SETTINGS")
        return
    connection.expected_kind = None
    # The last of a kind: each window goes through all streams, and a frame has room for ten thousand.
    for identifier, value in dict(settings_in(payload)).items():
        if identifier == Setting.INITIAL_WINDOW_SIZE:
            change, connection.out.initial_window = value - connection.out.initial_window, value
            for stream in connection.streams.open.values():
                stream.widen(change)
        elif identifier == Setting.MAX_FRAME_SIZE:
            connection.out.frame_limit = value
    connection.out.say(SETTINGS_ACK)
    connection.out.send_more()


def on_window_update(connection: Http2Connection, number: int, flags: int, payload: bytes) -> None:
    """The client has room for more."""
    increment = number_in(payload) & LARGEST_WINDOW
    connection.chatter.spend()
    if not number:
        connection.out.widen(increment)
        return
    stream = connection.streams.find(number)
    if stream is None:
        return
    if not increment or stream.window + increment > LARGEST_WINDOW:
        raise StreamFault(number, Code.FLOW_CONTROL_ERROR if increment else Code.PROTOCOL_ERROR)
    stream.widen(increment)
    if stream.is_held_back:
        connection.out.send_more()


def on_ping(connection: Http2Connection, number: int, flags: int, payload: bytes) -> None:
    """The client asks whether we are there, or answers that it is."""
    if number:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "PING is of no stream")
    if len(payload) != 8:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"expected a PING of 8 bytes, got {len(payload)}")
    connection.chatter.spend()
    if not flags & ACK:
        connection.out.say(frame(PING, ACK, 0, payload))
    elif payload == GOODBYE and connection.shared.draining:
        connection.leave()


def on_goaway(connection: Http2Connection, number: int, flags: int, payload: bytes) -> None:
    """The client opens no more streams, and gets what it has asked for."""
    if number:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY is of no stream")
    if len(payload) < 8:
        raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"expected a GOAWAY of at least 8 bytes, got {len(payload)}")
    connection.chatter.spend()


def on_priority(connection: Http2Connection, number: int, flags: int, payload: bytes) -> None:
    """Means nothing any more (section 5.3.2)."""
    if not number:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY is of a stream")
    connection.chatter.spend()
    if len(payload) != 5:
        if number not in connection.streams.open:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"expected PRIORITY of 5 bytes, got {len(payload)}")
        raise StreamFault(number, Code.FRAME_SIZE_ERROR)


def on_push(connection: Http2Connection, number: int, flags: int, payload: bytes) -> None:
    """A client has nothing to push."""
    raise ConnectionFault(Code.PROTOCOL_ERROR, "a client has nothing to push")
