"""One gRPC call under way: the client's side of it, the queries that a dialect makes of it, and how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import msgspec

from serve.access.callers import Caller
from serve.access_log import AccessLog
from serve.asking import Asked
from serve.dialects.base import retry_after
from serve.dialects.grpc_base import GrpcService
from serve.errors import ERROR_KIND, kind_of, presentable
from serve.front_doors.grpc_wire import Refusal
from serve.inference import Answer, InferenceRequest, Query
from serve.request_record import ANSWERED, CANCELLED, Recorder, RequestRecord
from serve.tracing.tracer import Tracer

MAX_TEXT_BYTES = 2048
"""UTF-8 bytes of an error's text. It travels in the trailers, each byte outside of ASCII as three, and clients refuse
trailers of more than 8 KB."""

WATCH_PAUSE_S = 1.0

Answerer = Callable[[Query], Awaitable[Answer]]


class Exchange(Protocol):
    """The client's side of a call."""

    @property
    def deadline(self) -> float | None:
        """When the client gives up, on the event loop's clock."""

    @property
    def caller(self) -> Caller | None:
        """Who calls, where a guard has let them in."""

    @property
    def received_ns(self) -> int:
        """When its only message was whole, of `time.perf_counter_ns()`."""

    @property
    def asked(self) -> Asked:
        """Its id, which the client is told with the status."""

    @property
    def peer(self) -> str:
        """The client's address, as `HOST:PORT`."""

    def header(self, name: str) -> str | None:
        """A header, or metadata, that the client sent, by lower-case name."""

    def answer(self, message: bytes) -> None:
        """Sends the only message, and that the call has succeeded."""

    async def send(self, message: bytes) -> None:
        """Sends one of several messages; returns when the next one may be made."""

    def succeed(self) -> None:
        """Sends that the call has succeeded, behind its messages."""

    def refuse(self, refusal: Refusal) -> None:
        """Sends that the call has failed."""


_CODES = {ANSWERED: "OK", CANCELLED: "CANCELLED"}
"""Outcomes that are no errors, and gRPC's code for each."""


class Recorded(msgspec.Struct, frozen=True):
    """Who is told of the requests of a method, and of which dialect they are."""

    dialect: str
    recorder: Recorder
    tracer: Tracer | None = None

    def begin(self, asked: Asked, received_ns: int, decoded_ns: int) -> RequestRecord:
        """The record of a request; decides whether it is traced in any case."""
        if self.tracer is not None:
            self.tracer.begin(asked)
        return RequestRecord(self.dialect, received_ns, decoded_ns, asked=asked)

    def note_refused(self, kind: str, asked: Asked, received_ns: int = 0) -> RequestRecord:
        """A call was refused before it was known what it asks."""
        record = self.begin(asked, received_ns or time.perf_counter_ns(), 0)
        self.recorder.end(record, kind)
        return record


class Call(msgspec.Struct):
    """A call under way (`GrpcCall`), or a message of a stream and its reply."""

    exchange: Exchange
    answerer: Answerer
    stopping: asyncio.Event
    asked: Asked
    received_ns: int
    recorded: Recorded | None = None
    access_log: AccessLog | None = None
    bytes_in: int = 0
    records: list[RequestRecord] = []
    """Of the requests that the dialect made of it."""

    @property
    def deadline(self) -> float | None:
        """When the client gives up, on the event loop's clock."""
        return self.exchange.deadline

    def answer(self, query: Query) -> Awaitable[Answer]:
        """The answer to a query, which is told who asks."""
        if type(query) is InferenceRequest:
            query.header = self.exchange.header
            if self.recorded is not None:
                now_ns = time.perf_counter_ns()
                asked, begin_ns = (self.asked.another(), now_ns) if self.records else (self.asked, self.received_ns)
                query.record = self.recorded.begin(asked, begin_ns, now_ns)
                self.records.append(query.record)
        return self.answerer(query)

    def refused(self, service: GrpcService, error: Exception) -> Refusal:
        """How the service tells an error, which ends the call."""
        refusal = refusal_of(service, error, self.asked.id)
        self.asked.status = refusal.code
        self.end(kind_of(error))
        return refusal

    def end(self, outcome: str = ANSWERED, bytes_out: int = 0) -> None:
        """To be called when the reply, of so many bytes, is there to be written, or there is to be none."""
        if outcome in _CODES and not self.asked.status:
            self.asked.status = _CODES[outcome]
        if self.recorded is not None:
            self._end_records(self.recorded, outcome)
        if self.access_log is not None:
            caller = self.exchange.caller
            self.access_log.note(
                self.asked,
                self.received_ns,
                bytes_in=self.bytes_in,
                bytes_out=bytes_out,
                caller="" if caller is None else caller.name,
                peer=self.exchange.peer,
                record=self.records[0] if self.records else None,
            )

    def _end_records(self, recorded: Recorded, outcome: str) -> None:
        for record in self.records:
            record.asked.status = self.asked.status
            recorded.recorder.end(record, outcome)
        if not self.records and outcome not in _CODES:
            self.records.append(recorded.note_refused(outcome, self.asked, self.received_ns))

    async def watch(self, query: Query) -> AsyncIterator[Answer]:
        """The answer now, again after each pause, and once more when the server stops."""
        while True:
            last = self.stopping.is_set()
            yield await self.answer(query)
            if last:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), WATCH_PAUSE_S)


def refusal_of(service: GrpcService, error: Exception, request_id: str = "") -> Refusal:
    """How a service tells an error of a request."""
    told = presentable(error, request_id)
    return Refusal(service.code_of(told), _cut(told.message), (*retry_after(told), (ERROR_KIND, kind_of(told))))


def _cut(text: str) -> str:
    """The beginning of a text that would be too long."""
    return text.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")
