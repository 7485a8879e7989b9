"""Raw bodies over HTTP, whatever the protocol: of requests, and of answers that a processor or handler wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping

from serve.dialects.base import HttpRequest
from serve.forms import read_form
from serve.inference import Payload

HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
"""What can be sent as the value of a header, of all that a handler may say."""


def payload_of(request: HttpRequest, headers: Mapping[str, str]) -> Payload:
    """The body of `request`, a form taken apart; raises `InvalidInput` for a form that is malformed."""
    content_type = request.header("content-type") or ""
    form = read_form(content_type, request.body)
    if form is None:
        return Payload(request.body, content_type, headers=headers)
    return Payload(b"", content_type, form.fields, headers, field_types=form.types)
