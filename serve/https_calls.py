"""HTTP and HTTPS calls of the command line: with which files, and what is told when nobody answers."""

from __future__ import annotations

import ssl
import urllib.request
from http.client import HTTPResponse
from typing import cast

from model_store.errors import ModelNotReady
from serve.tls_files import ClientFiles, client_context

# OpenSSL's numbers of why a certificate is refused (X509_V_ERR_*), which Python has no names for.
_OTHER_NAME = {62, 64}
_NOT_NOW = {9, 10}
_UNKNOWN_ISSUER = {2, 18, 19, 20, 21}


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
        return ModelNotReady(f"the certificate of the {who} at {url} {_refused(who, reason)}")
    if isinstance(reason, ssl.SSLError):
        return ModelNotReady(
            f"{what} by TLS ({reason}); --ca FILE says whom to trust, --client-certificate and --client-key who asks"
        )
    return ModelNotReady(f"{what} ({reason}); is `onegate up` running? {otherwise}")


def _refused(who: str, error: ssl.SSLCertVerificationError) -> str:
    """What is wrong with a certificate, and what mends that."""
    if error.verify_code in _OTHER_NAME:
        return f"is for other names ({error.verify_message}); call the {who} by a name or address that it has"
    if error.verify_code in _NOT_NOW:
        return f"is not valid now ({error.verify_message}); the {who} needs another, if this machine's clock is right"
    advice = "; --ca FILE, or ONEGATE_CA, says who signed it" if error.verify_code in _UNKNOWN_ISSUER else ""
    return f"is not trusted ({error.verify_message}){advice}"
