"""Which gRPC calls are let in when they open: by their metadata and their method, before a message is read."""

from __future__ import annotations

from collections.abc import Iterable

from serve.access.callers import Caller
from serve.access.guard import Guard, denied
from serve.access.scopes import Need, method_need
from serve.dialects.grpc_base import GrpcService
from serve.errors import kind_of
from serve.front_doors.grpc_call import refusal_of
from serve.front_doors.grpc_heads import CallHead
from serve.front_doors.http2_headers import RequestHead


class GrpcAccess:
    """A guard before the methods of services."""

    def __init__(self, guard: Guard, services: Iterable[GrpcService]) -> None:
        self._guard = guard
        self._needs = {
            f"/{service.name}/{name}".encode(): method_need(service.name, name)
            for service in services
            for name in service.methods
        }

    def admit(self, head: RequestHead) -> tuple[CallHead, Caller | None]:
        """The call and who makes it; one that is not let in has no method, and says why."""
        made: CallHead = head.made
        if made.method is None:
            return made, None
        fields = head.fields

        def metadata(name: str) -> str | None:
            value = fields.get(name.encode())
            return None if value is None else value.decode("latin-1")

        try:
            caller = self._guard.admit(metadata)
            need = self._needs[fields[b":path"]]
            if not caller.grants.allow_some(need):
                raise denied(caller, need)
            if caller.limits is not None and need is not Need.NOTHING:
                caller.limits.check()
        except Exception as error:
            refusal, asked = refusal_of(made.method.service, error), made.asked
            asked.status = refusal.code
            if made.method.recorded is not None:
                made.method.recorded.note_refused(kind_of(error), asked)
            return CallHead(refusal=refusal, fields=made.fields, path=made.path, noted=asked), None
        return made, caller

    def message_limit(self, caller: Caller, limit: int) -> int:
        """How many bytes a message may have, of `limit`, as the guard says."""
        return self._guard.message_limit(caller, limit)
