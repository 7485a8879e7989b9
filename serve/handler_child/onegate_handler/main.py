"""Start and loop of a handler's process.

It ends with its replica: standard input is a pipe that nobody writes to, and when the replica is gone, however it
ended, that pipe closes and the whole process group is killed. (`PR_SET_PDEATHSIG` would not do: it fires when the
thread that started the process ends.)
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import sys
import threading
from typing import Any

from onegate_handler.context import Context
from onegate_handler.failures import in_one_line, print_error
from onegate_handler.frames import Channel
from onegate_handler.loading import load_entry
from onegate_handler.serving import METRICS, Service

SERVER_VERSIONS = {"mms": "1.1.11", "torchserve": "0.12.0"}
"""What handlers are told: the last releases of either."""


def main(channel_fd: int) -> None:
    """Loads the handler that the first message describes, then answers a batch a message until the channel closes."""
    _end_with_replica(_free_stdin())
    os.set_inheritable(channel_fd, False)
    channel = Channel(socket.socket(fileno=channel_fd))
    # As the servers' own workers do: what a handler logs is a line of standard output.
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
    start, _ = channel.receive()
    try:
        service = _start(start)
    except (Exception, SystemExit) as error:
        print_error(error)
        channel.send({"kind": "failed", "text": in_one_line(error, start["model_dir"])})
        sys.exit(1)
    channel.send({"kind": "started"})
    _serve(channel, service)


def _serve(channel: Channel, service: Service) -> None:
    while True:
        try:
            batch, blobs = channel.receive()
        except EOFError:
            return
        answers, bodies = service.answer(batch["rows"], blobs)
        channel.send({"kind": "answers", "rows": answers}, bodies)


def _start(start: dict[str, Any]) -> Service:
    server, model_dir = start["server"], start["model_dir"]
    # First, as the servers have it: a module of the archive hides one of the same name.
    sys.argv[1:] = []
    sys.path[:] = [model_dir, *(path for path in sys.path if path != "")]
    metrics = METRICS[server](None, start["model_name"])
    context = Context(
        start["model_name"],
        model_dir,
        start["manifest"],
        start["batch_size"],
        start["gpu_id"],
        SERVER_VERSIONS[server],
        metrics=metrics,
        model_yaml_config=start["config"],
    )
    return Service(server, context, load_entry(server, start["entry"], context, start["legacy"]))


def _free_stdin() -> int:
    """Moves the pipe away from standard input, where a handler could meet it."""
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return lifeline


def _end_with_replica(lifeline: int) -> None:
    if sys.platform == "linux":
        # The kernel itself kills the group then, whatever holds the interpreter: fcntl(2), F_SETOWN and F_SETSIG.
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    # Elsewhere a thread does; and here it sees a replica that was gone before the kernel was asked.
    threading.Thread(target=_kill_at_end, args=(lifeline,), daemon=True).start()


def _kill_at_end(lifeline: int) -> None:
    while os.read(lifeline, 4096):
        pass
    os.killpg(0, signal.SIGKILL)
