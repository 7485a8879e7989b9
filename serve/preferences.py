"""Lists in which a client says what it takes and how gladly: `Accept`, `Accept-Encoding`."""

from __future__ import annotations


def preferences(header: str) -> dict[str, float]:
    """Item of the list, in lower case and without parameters -> its weight `q`: 1 where the client says none, 0 for one
    that is no number (RFC 9110, section 12.4.2)."""
    return dict(_weighted(part) for part in header.lower().split(","))


def _weighted(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip() for piece in part.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, float(parameter[2:])
            except ValueError:
                return name, 0.0
    return name, 1.0
