"""A real MXNet as the reference: a child process of another Python that has it.

MXNet installs beside no current numpy, so it needs a virtual environment of its own (`mxnet==1.9.1` with
`numpy==1.23.5`). Arrays travel as `.npz` files in a temporary folder, requests and replies as lines of JSON.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from converters.base import Arrays
from converters.mxnet.files import ModelFiles
from model_store.errors import ConfigError, ConversionError

_CHILD = Path(__file__).with_name("real_child.py")


class RealMXNet:
    """The model of `files` in the MXNet of the command `python`.

    Raises `ConfigError` when that is no Python with MXNet, `ConversionError` with MXNet's own words when it refuses the
    model or a call.
    """

    def __init__(self, python: str, files: ModelFiles, outputs: Sequence[str]) -> None:
        self._outputs = list(outputs)
        self._folder = tempfile.TemporaryDirectory(prefix="onegate-mxnet-")
        self._child = _start(python)
        atexit.register(self.close)
        hello = self._ask({"symbol": str(files.symbol.resolve()), "params": str(files.params.resolve())}, python)
        self.version = str(hello["version"])
        """As '1.9.1'."""

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """The outputs for named inputs; raises `ConversionError` when MXNet refuses them."""
        given, answered = (str(Path(self._folder.name) / name) for name in ("inputs.npz", "outputs.npz"))
        # Names of variables may be no file names: the arrays go by number.
        np.savez(given, *[np.asarray(array) for array in inputs.values()])
        self._ask({"names": list(inputs), "inputs": given, "outputs": answered})
        with np.load(answered, allow_pickle=False) as arrays:
            return {name: arrays[f"arr_{place}"] for place, name in enumerate(self._outputs)}

    def close(self) -> None:
        """Ends the child and removes its folder."""
        atexit.unregister(self.close)
        if self._child.stdin and not self._child.stdin.closed:
            self._child.stdin.close()
        self._child.wait()
        self._folder.cleanup()

    def _ask(self, question: dict[str, Any], python: str | None = None) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(question) + "\n")
            self._child.stdin.flush()
            reply: dict[str, Any] = json.loads(self._child.stdout.readline())
        except (OSError, ValueError):  # it ended, or is no Python
            reply = {"missing": "it does not start"} if python else {"error": "its process ended"}
        if "missing" in reply:
            raise ConfigError(f"--against-mxnet: {python} has no MXNet: {reply['missing']}")
        if "error" in reply:
            raise ConversionError(f"MXNet itself refuses the model: {reply['error']}")
        return reply


def _start(python: str) -> subprocess.Popen[str]:
    # One thread and no fusion: repeatable numbers, and each operator as it is registered.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MXNET_SUBGRAPH_BACKEND": "NONE"}
    environment.pop("PYTHONPATH", None)
    try:
        return subprocess.Popen(
            [python, "-I", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
    except OSError as error:
        raise ConfigError(f"--against-mxnet: {python!r} can't be started: {error.strerror or error}") from error
