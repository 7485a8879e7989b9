"""Where web servers send on who reads from them: asked about before anything is sent there.

What may be followed is for the caller; this knows how fsspec and aiohttp tell of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Follow = Callable[[str], bool]
"""Whether to go to a URL that a server sends on to."""

_PLAIN = re.compile(r"https?://[^/\\]+(/.*)?|/(?![/\\]).*", re.IGNORECASE | re.DOTALL)
"""An absolute URL, or a path from the server's root. What else may stand in the header (RFC 9110, section 10.2.2) can
be read in more than one way."""


class RedirectRefusedError(OSError):
    """A server sends on to where it is not followed."""


def asking(follow: Follow) -> dict[str, Any]:
    """Options of fsspec's file system of http and https, with which `follow` is asked about each redirect.

    Reading raises `RedirectRefusedError` where that says no, or `FileNotFoundError` caused by one.
    """
    import aiohttp

    async def ask(session: Any, context: Any, redirect: Any) -> None:
        headers, url = redirect.response.headers, redirect.url
        # aiohttp takes the place from either.
        target = headers.get("Location") or headers.get("URI") or ""
        place = f"{url.scheme}://{url.raw_authority}{target}" if target.startswith("/") else target
        if _PLAIN.fullmatch(target) is None or not follow(place):
            redirect.response.close()
            raise RedirectRefusedError(
                f"the server sends on to {place!r:.150}, where it is not followed; name that place itself"
            )

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(ask)
    # fsspec would keep a file system for each set of options.
    return {"client_kwargs": {"trace_configs": [trace]}, "skip_instance_cache": True}
