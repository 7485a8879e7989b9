"""What a load process is told, and what it tells: JSON on its standard input and output."""

from __future__ import annotations

import msgspec


class LoadPlan(msgspec.Struct):
    """Keeps `connections` busy with `request`, whole with its head, for `warm_up_s` that do not count and `seconds`
    that do. `tls` are CA, certificate and key files, each of which may be empty; None is no TLS."""

    host: str
    port: int
    request: bytes
    connections: int
    warm_up_s: float
    seconds: float
    tls: tuple[str, str, str] | None = None
    server_name: str = ""


class Load(msgspec.Struct):
    """What one step measured. `latencies_us` are 32-bit whole numbers, in this machine's byte order, of answers with a
    status below 400; `errors` counts others by status, 0 for a connection that broke or an answer that never came.
    `cpu_s` is what the load process itself used in `seconds`."""

    seconds: float
    latencies_us: bytes
    errors: dict[int, int]
    cpu_s: float
    reply_bytes: int = 0
    trouble: str = ""
