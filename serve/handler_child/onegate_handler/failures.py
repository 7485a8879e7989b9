"""How errors of a handler are told: whole in the log, in one line to whoever started it."""

from __future__ import annotations

import os
import traceback
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))


def print_error(error: BaseException) -> None:
    """The traceback on standard error, from where the handler's own code begins."""
    trace = error.__traceback__
    while trace is not None and _is_machinery(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)


def in_one_line(error: BaseException, model_dir: str) -> str:
    """The error, and the last line of the archive's own code that led to it."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    places: list[Any] = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
        text = f"{type(error).__name__}: {error.msg}"
    own = [(name, line) for name, line in places if os.path.dirname(name).startswith(model_dir)]
    if not own:
        return text
    return f"{text} ({os.path.relpath(own[-1][0], model_dir)}:{own[-1][1]})"


def _is_machinery(filename: str) -> bool:
    return filename.startswith((_HERE, "<frozen importlib")) or filename == os.path.join(_IMPORTLIB, "__init__.py")


_IMPORTLIB = os.path.join(os.path.dirname(os.__file__), "importlib")
