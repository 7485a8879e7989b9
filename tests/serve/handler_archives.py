"""Folders of archives with handlers, as MMS and TorchServe unpack them, and their versions' manifests."""

from __future__ import annotations

import contextlib
import json
import textwrap
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from model_store.manifest import PAYLOAD, PAYLOAD_SIGNATURE, HandlerSpec, Manifest
from serve.inference import Payload, Tensors
from serve.payloads import from_tensors, to_tensors
from serve.runtimes.handler import HandlerRuntime
from tests.serve.tiny_versions import manifest

MMS_ARCHIVE = {
    "specificationVersion": "1.0",
    "runtime": "python3",
    "engine": {"engineName": "MXNet"},
    "model": {"modelName": "echo", "handler": "service.py:handle"},
}


Start = Callable[..., HandlerRuntime]

OBEDIENT = """
    import os, signal, subprocess, sys, time
    def handle(data, context):
        if data is None:
            return None
        for request in data:
            exec(request["body"].decode())
        return [str(os.getpid())] * len(data)
"""
"""Runs the code that each body holds, and answers with its process id."""


def folder_of(folder: Path, files: Mapping[str, str | bytes], archive: Mapping[str, Any] | None = None) -> Path:
    """Writes the archive's files, and its manifest where one is given."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, bytes) else textwrap.dedent(content).lstrip().encode()
        (folder / name).write_bytes(data)
    if archive is not None:
        (folder / "MAR-INF").mkdir(exist_ok=True)
        (folder / "MAR-INF/MANIFEST.json").write_text(json.dumps(archive))
    return folder


def handler_manifest(server: str = "mms", entry: str = "service.py:handle", **spec: Any) -> Manifest:
    described = HandlerSpec(server=server, entry=entry, **{"batch_size": 8, **spec})  # type: ignore[arg-type]
    return msgspec.structs.replace(
        manifest("echo", 3),
        runtime="handler",
        trusted=True,
        signatures={PAYLOAD: PAYLOAD_SIGNATURE},
        default_signature=PAYLOAD,
        handler=described,
    )


def started(folder: Path, code: str, server: str = "mms", **spec: Any) -> HandlerRuntime:
    """The runtime of an archive whose only file is the module `service.py`."""
    folder_of(folder, {"service.py": code}, MMS_ARCHIVE if server == "mms" else None)
    return HandlerRuntime(folder, handler_manifest(server, **spec), threads=1)


@contextlib.contextmanager
def starting(folder: Path) -> Iterator[Start]:
    """A function that starts handlers as `started` does; they are closed at the end of the block."""
    runtimes: list[HandlerRuntime] = []

    def start(code: str = OBEDIENT, server: str = "mms", **spec: Any) -> HandlerRuntime:
        runtimes.append(started(folder / f"archive{len(runtimes)}", code, server, **spec))
        return runtimes[-1]

    try:
        yield start
    finally:
        for runtime in runtimes:
            runtime.close()


def ask(runtime: HandlerRuntime, *requests: Payload | bytes) -> list[Payload]:
    """The answers to requests that come as one batch."""
    rows = [to_tensors(r if isinstance(r, Payload) else Payload(r, "application/octet-stream")) for r in requests]
    outputs = runtime.run(_joined(rows), PAYLOAD)
    return [from_tensors({name: column[i : i + 1] for name, column in outputs.items()}) for i in range(len(requests))]


def said(runtime: HandlerRuntime, code: bytes) -> tuple[int, str, str]:
    """Status, type and message of the error that a body is answered with."""
    (answer,) = ask(runtime, code)
    body = json.loads(answer.body)
    assert body["code"] == answer.status
    return answer.status, body["type"], body["message"]


def write_wheel(folder: Path, name: str = "tinydep", version: str = "1.0", code: str = "answer = 42\n") -> str:
    """Writes a wheel with one module and returns its file name."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for file, text in files.items():
            wheel.writestr(zipfile.ZipInfo(file), text)
    return f"{name}-{version}-py3-none-any.whl"


def _joined(rows: Sequence[Tensors]) -> Tensors:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
