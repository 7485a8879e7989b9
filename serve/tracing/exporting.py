"""Sends what a tracer keeps to the collector, in a thread of its own.

A collector that is away, silent or full costs requests nothing: what they leave behind waits in a bounded queue, and
what finds it full is dropped and counted. That traces are lost is told when it begins and when it has ended.
"""

from __future__ import annotations

import logging
import threading
import time

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from serve.tracing.settings import TracingSettings
from serve.tracing.spans import SpanMaker
from serve.tracing.tracer import Tracer

log = logging.getLogger("onegate")

PAUSE_S = 0.5

AT_ONCE = 256
"""Requests whose spans are sent as one message."""

SHARE = 0.1
"""Of one CPU, at most, that making and sending spans takes: Python runs requests and this in turn. A span costs about
25 us."""

LAST_S = 2.0
"""How long the last traces may take when the gateway ends."""


class Exporting:
    """From `start` to `close`."""

    def __init__(self, tracer: Tracer, settings: TracingSettings, exporter: SpanExporter | None = None) -> None:
        # It has a logger of its own, whose lines would say each time what is said here once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._tracer = tracer
        self._endpoint = settings.endpoint
        self._maker = SpanMaker(settings.resource)
        self._exporter = exporter or OTLPSpanExporter(endpoint=settings.endpoint, headers=settings.headers)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._failed = 0
        """Requests whose spans the collector did not take."""
        self._told = 0
        """Lost requests that were told of."""
        self._losing = False

    def start(self) -> None:
        """Sends from now on."""
        self._thread.start()

    @property
    def lost(self) -> int:
        """Requests that were to be kept and were not."""
        return self._failed + self._tracer.dropped

    def close(self) -> None:
        """Sends what there is, within `LAST_S`. Blocks."""
        self._ending.set()
        self._thread.join(LAST_S)
        self._exporter.shutdown()

    def _run(self) -> None:
        while True:
            # Before the look: what came until it was set is sent.
            ending = self._ending.is_set()
            begin_s = time.thread_time()
            took_all = self._step(last=ending)
            if ending and took_all:
                return
            pause_s = (time.thread_time() - begin_s) * (1 / SHARE - 1)
            if not ending:
                self._ending.wait(max(pause_s, PAUSE_S if took_all else 0.0))

    def _step(self, *, last: bool) -> bool:
        """Sends some; whether nothing is left."""
        kept = self._tracer.take(AT_ONCE, last=last)
        taken = True
        if kept:
            try:
                taken = self._send(self._maker.spans(kept))
            except Exception:
                # A defect must cost traces, not the thread.
                log.exception("spans could not be made")
                taken = False
            self._failed += 0 if taken else len(kept)
        self._tell(reached=bool(kept) and taken)
        return len(kept) < AT_ONCE

    def _send(self, spans: list[ReadableSpan]) -> bool:
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def _tell(self, *, reached: bool) -> None:
        lost = self.lost
        if lost > self._told and not self._losing:
            self._losing = True
            log.warning(
                "traces are being lost: the collector at %s is away or slow, or too many are kept", self._endpoint
            )
        elif self._losing and lost == self._told and reached:
            self._losing = False
            log.warning("traces reach the collector at %s again; of %s requests they are lost", self._endpoint, lost)
        self._told = lost
