"""What a config names as `module`: factories of the modules that state dicts of the table belong to."""

from __future__ import annotations

from typing import Any


def cnn() -> Any:
    from tests.sources.pytorch_layers import cnn as net

    return net().module


def lstm_tagger() -> Any:
    from tests.sources.pytorch_sequences import lstm_tagger as net

    return net().module


def encoder() -> Any:
    from tests.sources.pytorch_sequences import encoder as net

    return net().module
