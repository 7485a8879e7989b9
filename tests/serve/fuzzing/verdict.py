"""What may be answered to any input, and within which bounds: an answer or a refusal of the client, never a defect."""

from __future__ import annotations

import json
import logging
import re
import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.serve.fuzzing.endpoint import GrpcSent, HttpSent
from tests.serve.fuzzing.http2_answers import Http2Sent
from tests.serve.fuzzing.inputs import HttpInput, Input
from tests.serve.fuzzing.wire import WireSent

LIMIT_CPU_S = 2.0
"""Of this process for one input."""
LIMIT_WALL_S = 20.0
"""For inputs that wait and compute nothing; on a busy machine others can take long too."""
LONGEST_TEXT_BYTES = 64 * 1024
"""Of an error's text: it must not repeat what it was sent."""

REASONED = {501, 503, 504}
"""Statuses from 500 on that are no defect, where the body says why."""
UNHEALTHY = ("/ping", 500)
"""How TorchServe says that one of the models has failed."""
CODES = {
    "OK", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION", "ABORTED", "UNIMPLEMENTED", "UNAVAILABLE", "DEADLINE_EXCEEDED",
}  # fmt: skip


UNSAID = {
    "status 405", "status 415", "reset NO_ERROR", "reset PROTOCOL_ERROR", "reset FLOW_CONTROL_ERROR",
    "reset STREAM_CLOSED", "reset FRAME_SIZE_ERROR", "reset REFUSED_STREAM", "reset CANCEL",
}  # fmt: skip
"""How HTTP/2 refuses a call without a word."""
ENDS = {
    "GOAWAY NO_ERROR", "GOAWAY PROTOCOL_ERROR", "GOAWAY FLOW_CONTROL_ERROR", "GOAWAY STREAM_CLOSED",
    "GOAWAY FRAME_SIZE_ERROR", "GOAWAY COMPRESSION_ERROR", "GOAWAY ENHANCE_YOUR_CALM",
}  # fmt: skip
"""How it ends a connection."""
UNKNOWN_DEFECT = "internal error "
"""How the text begins of what is logged whole; other texts of the code are of gRPC's own errors."""


Sent = HttpSent | GrpcSent | WireSent | Http2Sent


class TooLong(BaseException):
    """The alarm: no `except Exception` may catch it."""


class Wrong(AssertionError):
    """Something was answered that must not be. The text is equal for equal defects."""


def judge(request: Input, sent: Sent) -> str:
    """The status or code of what was sent, the first one; raises `Wrong`."""
    if isinstance(sent, WireSent):
        return _judge_wire(sent)
    if isinstance(sent, Http2Sent):
        return _judge_http2(sent)
    if isinstance(sent, GrpcSent):
        return _judge_grpc(sent)
    assert isinstance(request, HttpInput)
    return _judge_http(request, sent)


def _judge_http(request: HttpInput, sent: HttpSent) -> str:
    if reason := sent.unsendable():
        raise Wrong(f"can't be sent: {reason}")
    if sent.status < 200:
        raise Wrong(f"status {sent.status}")
    refused = sent.status >= 400
    if sent.status >= 500 and (request.path.rstrip("/"), sent.status) != UNHEALTHY:
        if sent.status not in REASONED:
            raise Wrong(f"status {sent.status}")
        if not sent.body.strip():
            raise Wrong(f"status {sent.status} without a reason")
    if refused and len(sent.body) > LONGEST_TEXT_BYTES:
        raise Wrong(f"status {sent.status} with {len(sent.body)} bytes")
    if sent.header("content-type") == "application/json" and not sent.header("content-encoding") and refused:
        _check_json(sent)
    return str(sent.status)


def _judge_wire(sent: WireSent) -> str:
    if sent.left_over:
        raise Wrong(f"left over: {', '.join(sent.left_over)}")
    try:
        replies = [reply for reply in sent.replies() if reply[0] != 100]
    except ValueError as error:
        raise Wrong(str(error)) from error
    for status, size, body in replies:
        if status < 200 or (status >= 500 and (status not in REASONED or not size or body.isspace())):
            raise Wrong(f"status {status}")
        if status >= 400 and len(body) > LONGEST_TEXT_BYTES:
            raise Wrong(f"status {status} with {len(body)} bytes")
    return str(replies[0][0]) if replies else "nothing"


def _judge_http2(sent: Http2Sent) -> str:
    if sent.left_over:
        raise Wrong(f"left over: {', '.join(sent.left_over)}")
    try:
        outcomes = sent.outcomes()
    except ValueError as error:
        raise Wrong(str(error)) from error
    for told, text in outcomes:
        if told in UNSAID:
            continue
        if told not in CODES | ENDS | {"INTERNAL"} or text.startswith(UNKNOWN_DEFECT):
            raise Wrong(f"{told}: {text[:100]}")
        if told not in ("OK", "GOAWAY NO_ERROR") and not text.strip():
            raise Wrong(f"{told} without a reason")
        if len(text) > LONGEST_TEXT_BYTES:
            raise Wrong(f"{told} with a text of {len(text)} characters")
    return outcomes[0][0] if outcomes else "nothing"


def _check_json(sent: HttpSent) -> None:
    try:
        json.loads(sent.body)
    except ValueError as error:
        raise Wrong(f"status {sent.status} with a body that is no JSON") from error


def _judge_grpc(sent: GrpcSent) -> str:
    if sent.code not in CODES:
        raise Wrong(f"code {sent.code}")
    if sent.code != "OK" and not sent.text.strip():
        raise Wrong(f"code {sent.code} without a reason")
    if len(sent.text.encode()) > LONGEST_TEXT_BYTES:
        raise Wrong(f"code {sent.code} with a text of {len(sent.text)} characters")
    if any(not isinstance(message, bytes) for message in sent.messages):
        raise Wrong("a message that is no bytes")
    return sent.code


class DefectLog(logging.Handler):
    """Hears of the defects that doors tell clients by a number only; `heard` raises the first one since."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.note(error, record.getMessage())

    def note(self, error: BaseException | None, text: str) -> None:
        if error is not None:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {str(error)[:200]}"
        self._last = self._last or text

    def forget(self) -> None:
        """What was heard so far."""
        self._last = None

    def heard(self) -> None:
        last, self._last = self._last, None
        if last is not None:
            raise Wrong(f"defect: {last}")


@contextmanager
def alarms() -> Iterator[None]:
    """Within it, `watched` raises `TooLong`; for the main thread."""
    kept = [(number, signal.signal(number, _ring)) for number in (signal.SIGALRM, signal.SIGPROF)]
    try:
        yield
    finally:
        for number, handler in kept:
            signal.signal(number, handler)


@contextmanager
def watched() -> Iterator[None]:
    """Raises `TooLong` in the middle of what takes too long."""
    signal.setitimer(signal.ITIMER_PROF, LIMIT_CPU_S)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_WALL_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _ring(number: int, frame: object) -> None:
    what = f"{LIMIT_CPU_S:g} s of CPU time" if number == signal.SIGPROF else f"{LIMIT_WALL_S:g} s"
    raise TooLong(f"not answered after {what}")


def peak_bytes() -> int:
    """The most memory that this process had since `reset_peak`. Not getrusage's: that is inherited from the parent."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def reset_peak() -> None:
    """From now on the peak is counted anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")
