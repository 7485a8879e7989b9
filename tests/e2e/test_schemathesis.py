"""What the endpoint answers is what its OpenAPI document says, for requests that schemathesis makes up from it.

The real front door, dialects and dispatcher answer, in this process. The same requests come every time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serve.dialects.registry import http_dialects
from tests.e2e.running import free_ports
from tests.serve.served_models import serving

pytestmark = pytest.mark.e2e

EXAMPLES = 10
"""Of each operation that are as the document says, and as many that are not."""

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
REFUSALS = (501, 503)
"""Statuses from 500 on that say what is so: a call that is not offered, a model that can't answer."""
NOT_HEALTHY = ("/ping", 500)
"""One of the models has failed."""


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    (port,) = free_ports(1)
    async with serving(tmp_path, port, http_dialects("torchserve")):
        yield f"http://127.0.0.1:{port}"


def fuzz(url: str, operation: Any, mode: GenerationMode, session: requests.Session) -> None:
    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: schemathesis.Case) -> None:
        response = case.call(base_url=url, session=session, timeout=20)
        status = response.status_code
        expected = status < 500 or status in REFUSALS or (operation.path, status) == NOT_HEALTHY
        assert expected, f"{status} for {case.as_curl_command()}"
        case.validate_response(response, checks=CHECKS)

    one()


def fuzz_all(url: str, mode: GenerationMode) -> int:
    """How many operations were called."""
    document = requests.get(f"{url}/openapi.json", timeout=20).json()
    called = 0
    with requests.Session() as session:
        for found in schemathesis.openapi.from_dict(document).get_all_operations():
            try:
                fuzz(url, found.ok(), mode, session)
            except Unsatisfiable:
                # Nothing can be wrong with a call that takes neither parameters nor a body, nor where all are right.
                assert mode is GenerationMode.NEGATIVE
            called += 1
    return called


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
async def test_every_operation_answers_as_the_document_says(url: str, mode: GenerationMode) -> None:
    assert await asyncio.to_thread(fuzz_all, url, mode) >= 50
