"""`python -m serve.liveness`: exit code 0 when the gateway of this machine answers, 1 and a line when it doesn't.

For the health check of a container, which runs every few seconds in an image that has no `curl`: it imports the
standard library only and reads no config. The port is `ONEGATE_GATEWAY_HTTP_PORT`, by default 8080. Where the port
speaks TLS, whoever answers there is the gateway, whatever certificate it shows or asks for.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys

PATH = "/v2/health/live"
DEFAULT_PORT = 8080
TIMEOUT_S = 4.0


def problem(port: int) -> str | None:
    """What is wrong with the gateway on `port` of the loopback address, in words; None when it answers 200."""
    try:
        found = _asked(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S))
    except http.client.HTTPException as error:
        found = repr(error)
    except OSError as error:
        return str(error)
    # A port with TLS answers 400 to whoever does not speak it.
    return None if found is None or _lives_behind_tls(port) else found


def _lives_behind_tls(port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        return _asked(http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=context)) is None
    except ssl.SSLError as error:
        # It asks for the caller's certificate, which only a gateway that lives can.
        return "CERTIFICATE_REQUIRED" in str(error.reason)
    except (http.client.HTTPException, OSError):
        return False


def _asked(connection: http.client.HTTPConnection) -> str | None:
    try:
        connection.request("GET", PATH)
        status = connection.getresponse().status
        return None if status == http.client.OK else f"{PATH} answered {status}"
    finally:
        connection.close()


def main() -> int:
    """The command; see above."""
    port = int(os.environ.get("ONEGATE_GATEWAY_HTTP_PORT") or DEFAULT_PORT)
    found = problem(port)
    if found is not None:
        print(f"onegate: port {port}: {found}", file=sys.stderr)
    return int(found is not None)


if __name__ == "__main__":
    sys.exit(main())
