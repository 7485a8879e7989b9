"""HTTP and HTTPS calls of the command line: with which files, and what is told when nobody answers."""

from __future__ import annotations

import ssl
import urllib.request
from http.client import HTTPResponse
from typing import cast

from model_store.errors import ModelNotReady
from serve.tls_files import ClientFiles, client_context


def opened(request: urllib.request.Request, timeout_s: float, tls: ClientFiles) -> HTTPResponse:
    """The reply to `request`. The files are read for each call, as they may be renewed; raises `ConfigError` where they
    are no use, `HTTPError` for a refusal and `OSError` where there is no answer."""
    context = client_context(tls, "--client-certificate") if request.type == "https" else None
    return cast(HTTPResponse, urllib.request.urlopen(request, timeout=timeout_s, context=context))


def unreachable(who: str, url: str, error: Exception, otherwise: str) -> ModelNotReady:
    """The error to raise when a call of `who`, as `gateway`, at `url` failed without an answer; `otherwise` is what
    else the user may do."""
    what = f"no {who} answers at {url}"
    reason = error if isinstance(error, ssl.SSLError) else getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return ModelNotReady(
            f"the certificate of the {who} at {url} is not trusted ({reason.verify_message}); "
            "--ca FILE, or ONEGATE_CA, says who signed it"
        )
    if isinstance(reason, ssl.SSLError):
        return ModelNotReady(
            f"{what} by TLS ({reason}); --ca FILE says whom to trust, --client-certificate and --client-key who asks"
        )
    return ModelNotReady(f"{what} ({reason}); is `onegate up` running? {otherwise}")
