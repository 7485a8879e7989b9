"""Stands for `mms.utils.mxnet.ndarray`."""

from __future__ import annotations

from typing import Any


def top_probability(data: Any, labels: list[str], top: int = 5) -> list[dict[str, Any]]:
    """The likeliest classes of the batch's first row, likeliest first; trailing dimensions of size 1 are dropped."""
    scores = data.asnumpy() if hasattr(data, "asnumpy") else data
    row = scores.reshape(scores.shape[:2])[0]
    return [{"probability": float(row[index]), "class": labels[index]} for index in row.argsort()[::-1][:top]]
