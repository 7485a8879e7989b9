"""The lines of the access log: what they say of a request, as JSON and for people."""

from __future__ import annotations

import msgspec

from serve.asking import Asked
from serve.log_format import local_text, utc_text
from serve.request_record import RequestRecord

_ONE_LINE = {code: f"\\x{code:02x}" for code in (*range(32), 127, 0x85)} | {0x2028: "\\u2028", 0x2029: "\\u2029"}

_encoder = msgspec.json.Encoder()


class AccessLine(msgspec.Struct, omit_defaults=True):
    """What a line has, in this order; what is not known is left out. Times are in milliseconds, `ms` from when the
    request was whole to when its answer was written. What follows `caller` is of requests for inference: `queue_ms` is
    the time until its first batch, `run_ms` from there to the end of its last one, which had `batch_rows` rows."""

    time: str
    level: str
    process: str
    text: str
    request: str
    trace: str = ""
    protocol: str = ""
    method: str = ""
    target: str = ""
    status: int | str = ""
    ms: float = -1.0
    bytes_in: int = -1
    bytes_out: int = -1
    client: str = ""
    caller: str = ""
    dialect: str = ""
    model: str = ""
    version: str = ""
    queue_ms: float = -1.0
    run_ms: float = -1.0
    batch_rows: int = 0
    error: str = ""


class Noted(msgspec.Struct):
    """What a line is made of. `record` is that of a request for inference."""

    asked: Asked
    at_s: float
    """When it ended: seconds since 1970."""
    took_ns: int
    bytes_in: int
    bytes_out: int
    caller: str
    peer: str
    record: RequestRecord | None

    def line(self, process: str) -> AccessLine:
        """The line of a gateway called `process`."""
        asked, record = self.asked, self.record
        line = AccessLine(
            utc_text(self.at_s),
            "INFO",
            process,
            f"{asked.method or 'gRPC'} {asked.target} {asked.status}",
            asked.id,
            asked.trace_id,
            "http" if asked.method else "grpc",
            asked.method,
            asked.target,
            asked.status,
            round(self.took_ns / 1e6, 3),
            self.bytes_in,
            self.bytes_out,
            self.peer,
            self.caller,
        )
        if record is not None:
            _add_inference(line, record)
        return line


def _add_inference(line: AccessLine, record: RequestRecord) -> None:
    line.dialect, line.error = record.dialect, record.outcome
    if record.statistics is not None:
        line.model, line.version = record.statistics.model, record.statistics.version
    if record.batches:
        queued_ns, run_ns, line.batch_rows = _batched(record)
        line.queue_ms, line.run_ms = round(queued_ns / 1e6, 3), round(run_ns / 1e6, 3)


def json_line(noted: Noted, process: str) -> bytes:
    """The line of a gateway called `process`, for programs."""
    return _encoder.encode(noted.line(process))


def text_line(noted: Noted, process: str) -> str:
    """The line of a gateway called `process`, for people."""
    asked, record = noted.asked, noted.record
    parts = [
        f"{local_text(noted.at_s)} INFO {process}: {asked.method or 'gRPC'} {asked.target} {asked.status} "
        f"{noted.took_ns / 1e6:.3f} ms bytes_in={noted.bytes_in} bytes_out={noted.bytes_out} client={noted.peer}"
    ]
    if noted.caller:
        parts.append(f"caller={noted.caller}")
    if record is not None:
        parts.append(f"dialect={record.dialect}")
        if record.statistics is not None:
            parts.append(f"model={record.statistics.model} version={record.statistics.version}")
        if record.batches:
            queued_ns, run_ns, rows = _batched(record)
            parts.append(f"queue_ms={queued_ns / 1e6:.3f} run_ms={run_ns / 1e6:.3f} batch_rows={rows}")
        if record.outcome:
            parts.append(f"error={record.outcome}")
    parts.append(f"(request {asked.id})")
    text = " ".join(parts)
    # A target may hold anything that a client sends: one request is one line.
    return text if text.isprintable() else text.translate(_ONE_LINE)


def _batched(record: RequestRecord) -> tuple[int, int, int]:
    """How long it waited for its first batch, how long from there until its last one had ended, 0 if it has not, and
    the rows of that."""
    first, last = record.batches[0], record.batches[-1]
    return first.began_ns - record.queued_ns, max(last.ended_ns - first.began_ns, 0), last.rows
