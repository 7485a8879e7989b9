"""The sandbox's side inside the child process: reads a request, converts, writes progress and the result.

Messages go to a pipe of their own, one JSON object a line, as frameworks write what they like to standard
output. The child ends with its parent: when standard input closes, it exits.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import IO, Any

import msgspec

from converters.pipeline import ConversionRequest, Converted, convert_source
from model_store.errors import OnegateError


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line from the child: progress, or the result, or an error."""

    progress: str | None = None
    result: Converted | None = None
    kind: str | None = None
    text: str | None = None
    details: dict[str, Any] = {}


def main(channel_fd: int, longest_s: int) -> None:
    """Serves one request from standard input, then exits.

    `longest_s` is a backstop: the kernel ends the child then, even when a library holds the interpreter.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(longest_s)
    line = sys.stdin.buffer.readline()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with os.fdopen(channel_fd, "wb", buffering=0) as channel:
        _send(channel, _answer(line, channel))
    sys.stdout.flush()
    # Frameworks leave threads and atexit hooks behind that can hang; all that counts has been sent.
    os._exit(0)


def _answer(line: bytes, channel: IO[bytes]) -> Message:
    try:
        request = msgspec.json.decode(line, type=ConversionRequest)
        converted = convert_source(request, lambda text: _send(channel, Message(progress=text)))
        return Message(result=converted)
    except OnegateError as error:
        return Message(kind=type(error).__name__, text=error.message, details=_plain(error.details))
    except MemoryError:
        return Message(kind="ConversionError", text="the converter ran out of memory")
    except Exception as error:  # whatever a framework raises becomes one line
        lines = str(error).strip().splitlines()
        text = f"{type(error).__name__}: {lines[0][:500]}" if lines else type(error).__name__
        return Message(kind="ConversionError", text=f"the conversion failed: {text}")


def _plain(details: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(details, enc_hook=str)
    return plain


def _send(channel: IO[bytes], message: Message) -> None:
    channel.write(msgspec.json.encode(message) + b"\n")


def _exit_with_parent() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(3)
