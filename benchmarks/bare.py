"""Bare ONNX Runtime in a loop: the most that a server around the same model could reach."""

from __future__ import annotations

import time
from array import array
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime

from benchmarks.models import INPUT, OUTPUT


class Calls(msgspec.Struct, frozen=True):
    """What a loop measured; times are those of a call with all its rows."""

    rows: int
    duration_s: float
    p50_ms: float
    p99_ms: float


class BareOnnx:
    """A session with the options that onegate's runtime gives it, in this process."""

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(self, rows: np.ndarray) -> np.ndarray:
        """float32[N, ...] to float32[N, ...]."""
        answer: np.ndarray = self._session.run([OUTPUT], {INPUT: rows})[0]
        return answer

    def run_for(self, duration_s: float, row: np.ndarray, batch: int) -> Calls:
        """Calls with `batch` times `row`, one after the other, for `duration_s`."""
        rows = np.repeat(row, batch, axis=0)
        times_s = array("d")
        start = before = time.perf_counter()
        while before - start < duration_s or not times_s:
            self.run(rows)
            now = time.perf_counter()
            times_s.append(now - before)
            before = now
        p50_s, p99_s = np.percentile(times_s, [50, 99])
        return Calls(batch * len(times_s), before - start, float(p50_s) * 1000, float(p99_s) * 1000)
