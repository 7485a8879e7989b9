"""A gRPC call's headers: which method it is for, how long it may take, and how its messages are packed.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from model_store.errors import InvalidInput
from serve.asking import Asked
from serve.front_doors.compression import ENCODINGS
from serve.front_doors.grpc_methods import Method
from serve.front_doors.grpc_wire import IDENTITY, Refusal, is_grpc, timeout_s
from serve.front_doors.http2_headers import RequestHead

NOT_FOUND = Refusal("UNIMPLEMENTED", "Method not found!")
"""In grpc.aio's words."""


class CallHead(msgspec.Struct, frozen=True):
    """What a call's headers say. One without a method is told `refusal`, or where it is no gRPC, HTTP's `status`."""

    method: Method | None = None
    timeout_s: float | None = None
    encoding: str | None = None
    """Of messages that are compressed."""
    refusal: Refusal | None = None
    status: int = 200
    fields: Mapping[bytes, bytes] = {}
    path: str = ""
    """The method's whole name, with a slash before it."""
    noted: Asked | None = None
    """Of a call that was refused, and noted as that, before there was a stream for it."""

    def header(self, name: str) -> str | None:
        """A header, or metadata of the call, by lower-case name."""
        value = self.fields.get(name.encode())
        return None if value is None else value.decode("latin-1")

    @property
    def asked(self) -> Asked:
        """A request with these headers; a new one each time, for calls share what was read of equal headers."""
        return self.noted or Asked(self.header, target=self.path)


def read_head(head: RequestHead, methods: Mapping[bytes, Method]) -> CallHead:
    """The call in a request's headers; `methods` are those of the server, by path."""
    fields = head.fields
    if not is_grpc(fields.get(b"content-type", b"")):
        return CallHead(status=415)
    if fields[b":method"] != b"POST":
        return CallHead(status=405)
    method = methods.get(fields[b":path"])
    if method is None:
        return CallHead(refusal=NOT_FOUND, fields=fields, path=fields[b":path"].decode("latin-1"))
    encoding = fields.get(b"grpc-encoding", b"").decode("latin-1")
    if encoding not in ("", IDENTITY, *ENCODINGS):
        text = f"messages may be packed as {', '.join((IDENTITY, *ENCODINGS))}, got {encoding:.40}"
        return CallHead(refusal=Refusal("UNIMPLEMENTED", text))
    timeout = fields.get(b"grpc-timeout")
    try:
        limit_s = None if timeout is None else timeout_s(timeout)
    except InvalidInput as error:
        return CallHead(refusal=Refusal("INTERNAL", error.message))
    return CallHead(
        method,
        limit_s,
        encoding if encoding in ENCODINGS else None,
        fields=fields,
        path=fields[b":path"].decode("latin-1"),
    )
