"""Configs of gateways to be started."""

from __future__ import annotations

from pathlib import Path

from serve.config import Config


def config(store: Path | str = "/nowhere", **gateway: object) -> Config:
    return Config.model_validate(
        {
            "store": str(store),
            "gateway": {"host": "127.0.0.1"} | gateway,
            "models": [{"name": "digits", "source": "/exports/digits.onnx"}],
        }
    )
