"""Stands for `ts.protocol.otf_message_handler`: parts of an answer that a handler has before the rest."""

from __future__ import annotations

from typing import Any


def send_intermediate_predict_response(ret: Any, req_id_map: Any, message: str, code: int, context: Any = None) -> None:
    """Keeps the next part of each answer of the batch; the client gets all parts at once, in their order."""
    context.early_results.append(list(ret))
