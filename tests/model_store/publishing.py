"""What the store's tests publish. Run as a script it is a writer process, which can be made to die."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_store.manifest import Manifest, Signature, TensorSpec
from model_store.store import Store

MODEL_BYTES = bytes(range(256)) * 12_000
"""3,072,000 bytes: three chunks, the last one not full."""

WRITE_CALLS = ("mkdir", "open", "write", "fsync", "link", "replace", "unlink", "rmdir", "close")


def manifest(name: str = "digits", key: str = "key-1") -> Manifest:
    tensor = TensorSpec("x", "FP32", (-1, 4))
    return Manifest(
        name=name,
        key=key,
        created="2026-01-02T03:04:05+00:00",
        framework="onnx",
        source_digest="0" * 64,
        source_name="digits.onnx",
        runtime="onnx",
        files={},
        signatures={"serving_default": Signature((tensor,), (tensor,))},
    )


def write_model(folder: Path, suffix: bytes = b"") -> dict[str, Path]:
    """A model with external data in a subfolder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(MODEL_BYTES + suffix)
    (folder / "weights.bin").write_bytes(b"weights" + suffix)
    return {"model.onnx": folder / "model.onnx", "external/weights.bin": folder / "weights.bin"}


def die_at_call(number: int) -> None:
    """Makes this process kill itself at its `number`-th writing call; a write is torn in two by that."""
    calls = 0

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == number:
                if name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return call

    for name in WRITE_CALLS:
        setattr(os, name, counted(name, getattr(os, name)))


def main(url: str, files: str, name: str, first_key: str, publishes: str, die_at: str) -> None:
    store = Store(url)
    sources = write_model(Path(files), name.encode())
    if int(die_at):
        die_at_call(int(die_at))
    for key in range(int(first_key), int(first_key) + int(publishes)):
        print(store.publish(manifest(name, f"key-{key}"), sources).version, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
