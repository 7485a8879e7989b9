"""Processes that run dialects, so that a crash is seen as such and memory is that of the inputs alone."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from tests.serve.fuzzing.tallies import Document, died

Way = Literal["structured", "bytes", "both"]
"""`both` is for short runs: a sixth structured, and bytes changed without atheris."""

INSTRUMENTED = ["serve", "model_store"]
"""Packages whose branches atheris watches."""
LONGEST_BYTES = 8192
"""Of an input that atheris makes."""
LONGEST_SEED_BYTES = 64 * 1024
START_S, INPUT_S = 300, 0.05
"""A worker that has not ended after so long, and so long more for each input, is killed."""

_ROOT = Path(__file__).parents[3]


def has_atheris() -> bool:
    """Whether bytes are changed by atheris, else by `mutation.py`."""
    return importlib.util.find_spec("atheris") is not None


def run_worker(dialects: Sequence[str], way: Way, count: int, start: int) -> list[Document]:
    """The tallies of a process that sends each of `dialects` `count` inputs; where it dies, one says so."""
    command = [sys.executable, "-m", "tests.serve.fuzzing", "--worker", way, *dialects]
    command += ["--count", str(count), "--start", str(start)]
    limit_s = START_S + len(dialects) * count * INPUT_S
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s, cwd=_ROOT)
    except subprocess.TimeoutExpired:
        return [died("all", f"the worker did not end within {limit_s:g} s")]
    tallies = [json.loads(each) for each in done.stdout.splitlines() if each.startswith('{"dialect"')]
    if done.returncode or len(tallies) < len(dialects):
        tallies.append(died("all", f"the worker ended with {done.returncode}: {done.stderr[-1500:]}"))
    return tallies


def work(dialects: Sequence[str], way: Way, count: int, start: int) -> None:
    """What a worker does; its last lines are the tallies."""
    if way == "bytes" and has_atheris():
        _work_with_atheris(dialects[0], count, start)
        return
    from tests.serve.fuzzing.dialects import DIALECTS
    from tests.serve.fuzzing.runs import Run, run_mutated, run_seeds, run_structured

    structured = {"structured": count, "bytes": 0, "both": count // 6}[way]
    for name in dialects:
        run = Run(DIALECTS[name])
        with run.attentive():
            run_seeds(run)
            run_structured(run, structured, start)
            run_mutated(run, count - structured, start)
        _tell(run, name)
        run.close()


def _tell(run: Any, name: str) -> None:
    print(json.dumps(run.finish().document(name)), flush=True)


def _work_with_atheris(dialect: str, count: int, start: int) -> None:
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.serve.fuzzing.dialects import DIALECTS
    from tests.serve.fuzzing.runs import Run, run_seeds

    run = Run(DIALECTS[dialect])
    corpus = Path(tempfile.mkdtemp(prefix="og-fuzz-"))

    def send(data: bytes) -> None:
        run.try_one(run.dialect.read(data))
        if run.tally.inputs >= count or run.ended:
            _tell(run, dialect)
            shutil.rmtree(corpus)
            # libFuzzer would go on, and ends a process in no other way either.
            os._exit(0)

    for index, data in enumerate(run.dialect.corpus):
        if len(data) <= LONGEST_SEED_BYTES:
            (corpus / str(index)).write_bytes(data)
    options = ["-timeout=0", "-handle_alrm=0", "-rss_limit_mb=0", "-verbosity=0"]
    with run.attentive():
        run_seeds(run)
        atheris.Setup(["fuzzing", f"-seed={start}", f"-max_len={LONGEST_BYTES}", *options, str(corpus)], send)
        atheris.Fuzz()
