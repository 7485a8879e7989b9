"""The id of a request: in with `x-request-id`, out with the answer, and the same in the log and in errors."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import aiohttp
import grpc
import pytest

from serve.executors.inline import InlineExecutor
from serve.inference import Tensors
from serve.log_format import LogStyle
from tests.serve.replica_fleet import Fleet
from tests.serve.tiny_versions import FunctionRuntime, dispatcher_of, entry
from tests.serve.tracing.traced import ask, endpoint, message

MADE = re.compile("[0-9a-f]{32}")


class Lines(logging.Handler):
    """Lines as they are formatted when they come."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(LogStyle().formatter("gateway"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record).splitlines()[0])


@pytest.fixture
def lines() -> Iterator[list[str]]:
    logger, handler = logging.getLogger("onegate"), Lines()
    logger.addHandler(handler)
    yield handler.lines
    logger.removeHandler(handler)


def crashing(inputs: Tensors) -> Tensors:
    raise ZeroDivisionError("a defect")


async def test_a_clients_id_is_told_with_the_answer(free_port: int) -> None:
    async with endpoint(dispatcher_of(entry()), free_port) as at:
        status, headers = await ask(at, x_request_id="order-7")
        assert (status, headers["x-request-id"]) == (200, "order-7")


@pytest.mark.parametrize("given", ["", "two words", "x" * 129, "ä"])
async def test_an_id_that_can_not_be_written_is_none(free_port: int, given: str) -> None:
    async with endpoint(dispatcher_of(entry()), free_port) as at:
        status, headers = await ask(at, x_request_id=given)
        assert status == 200
        assert "x-request-id" not in headers


async def test_an_error_has_an_id_of_its_own(free_port: int) -> None:
    async with endpoint(dispatcher_of(entry()), free_port) as at:
        first, second = [(await ask(at, "/v2/models/nobody/infer"))[1]["x-request-id"] for _ in range(2)]
        assert MADE.fullmatch(first)
        assert first != second


async def test_a_defect_is_told_under_the_requests_id_in_the_answer_and_in_the_log(
    free_port: int, lines: list[str]
) -> None:
    broken = InlineExecutor(FunctionRuntime(crashing), on_loop=True)
    async with (
        endpoint(dispatcher_of(entry(), executor=broken), free_port) as at,
        aiohttp.ClientSession() as session,
        session.post(
            f"{at.url}/v2/models/double/infer",
            data=b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}',
            headers={"x-request-id": "order-7"},
        ) as answer,
    ):
        assert answer.status == 500
        assert (await answer.json())["error"] == "internal error order-7; the server's log has the details"
    (line,) = lines
    assert line.endswith("ERROR gateway: internal error order-7 (request order-7)")


async def test_over_grpc_the_id_comes_in_metadata_and_is_told_behind_the_answer(free_port: int) -> None:
    async with (
        endpoint(dispatcher_of(entry()), free_port) as at,
        grpc.aio.insecure_channel(at.grpc) as channel,
    ):
        method = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        call = method(message(), metadata=(("x-request-id", "order-7"),))
        await call
        assert dict(await call.trailing_metadata()) == {"x-request-id": "order-7"}
        plain = method(message())
        await plain
        assert dict(await plain.trailing_metadata()) == {}
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(message("nobody"))
        assert MADE.fullmatch(dict(refused.value.trailing_metadata())["x-request-id"])


@pytest.mark.parametrize("same_node", [True, False])
async def test_a_replicas_line_has_the_ids_of_the_requests_that_it_is_about(
    free_port: int, lines: list[str], same_node: bool
) -> None:
    fleet = Fleet()
    try:
        replica = await fleet.serve("a", InlineExecutor(FunctionRuntime(crashing), on_loop=True))
        await fleet.executor.update([replica.listed("here" if same_node else "elsewhere")])
        async with endpoint(dispatcher_of(entry(executor="replicas"), executor=fleet.executor), free_port) as at:
            status, headers = await ask(at, x_request_id="order-7")
            assert (status, headers["x-request-id"]) == (500, "order-7")
        assert re.fullmatch(r".* ERROR gateway: internal error [0-9a-f]{12} \(request order-7\)", lines[0])
    finally:
        for server in fleet.servers:
            await server.stop()
        await fleet.executor.close()
