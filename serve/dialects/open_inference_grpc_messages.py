"""Inference messages with their raw contents beside them: the protobuf library would copy large ones several times.

To the front door and to stubs these are like any message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from serve.protocols import open_inference as messages
from serve.protocols.wire import put_behind, take_out

LARGE_BYTES = 64 * 1024
"""From here on it pays to look for the contents in the bytes; a smaller message is read faster as a whole."""

REQUEST_CONTENTS = 7
RESPONSE_CONTENTS = 6


class Received:
    """A message as it came: raw contents are views on its bytes where these are large."""

    DESCRIPTOR: ClassVar[Any]
    _kind: ClassVar[Any]
    _field: ClassVar[int]

    __slots__ = ("message", "raw")

    def __init__(self, message: Any, raw: Sequence[bytes | memoryview]) -> None:
        self.message = message
        self.raw = raw

    @classmethod
    def FromString(cls, data: bytes) -> Self:  # noqa: N802  # protobuf's own name
        """The message in `data`; raises `DecodeError`."""
        if len(data) < LARGE_BYTES:
            message = cls._kind.FromString(data)
            return cls(message, raw_contents(message))
        rest, raw = take_out(data, cls._field)
        return cls(cls._kind.FromString(rest), raw)


class UnreadRequest:
    """A `ModelInferRequest` whose bytes the method reads itself."""

    DESCRIPTOR = messages.ModelInferRequest.DESCRIPTOR

    @staticmethod
    def FromString(data: bytes) -> bytes:  # noqa: N802  # protobuf's own name
        """The bytes as they are."""
        return data


class ReceivedRequest(Received):
    """A `ModelInferRequest` that came."""

    DESCRIPTOR = messages.ModelInferRequest.DESCRIPTOR
    _kind = messages.ModelInferRequest
    _field = REQUEST_CONTENTS

    __slots__ = ()


class ReceivedResponse(Received):
    """A `ModelInferResponse` that came."""

    DESCRIPTOR = messages.ModelInferResponse.DESCRIPTOR
    _kind = messages.ModelInferResponse
    _field = RESPONSE_CONTENTS

    __slots__ = ()


class Sent:
    """A `ModelInferRequest` or `ModelInferResponse` to be sent, and its raw contents, which are copied once then."""

    __slots__ = ("message", "raw")

    def __init__(self, message: Any) -> None:
        self.message = message
        self.raw: list[bytes | memoryview] = []

    def SerializeToString(self) -> bytes:  # noqa: N802  # protobuf's own name
        """The whole message."""
        is_request = isinstance(self.message, messages.ModelInferRequest)
        return put_behind(
            self.message.SerializeToString(), REQUEST_CONTENTS if is_request else RESPONSE_CONTENTS, self.raw
        )


class SentInStream:
    """A `ModelStreamInferResponse` to be sent, around its `infer_response`."""

    __slots__ = ("_answer",)

    _FIELD = 2

    def __init__(self, answer: Sent) -> None:
        self._answer = answer

    def SerializeToString(self) -> bytes:  # noqa: N802  # protobuf's own name
        """The whole message."""
        return put_behind(b"", self._FIELD, [self._answer.SerializeToString()])


def raw_contents(message: Any) -> Sequence[bytes]:
    """The raw contents that lie in a message of protobuf's."""
    request = isinstance(message, messages.ModelInferRequest)
    contents: Sequence[bytes] = message.raw_input_contents if request else message.raw_output_contents
    return contents
