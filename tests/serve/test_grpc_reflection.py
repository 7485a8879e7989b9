"""Server reflection on real sockets, with the client of grpcio-reflection, and what it tells of all services."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from serve.dialects.grpc_reflection import reflection_services
from serve.dialects.registry import grpc_services
from serve.protocols import reflection as messages
from serve.protocols.pool import POOL
from tests.serve.grpc_channels import channel_to, stream
from tests.serve.tiny_versions import dispatcher_of

SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
    "org.pytorch.serve.grpc.inference.InferenceAPIsService",
    "org.pytorch.serve.grpc.management.ManagementAPIsService",
    "org.pytorch.serve.grpc.openinference.GRPCInferenceService",
]


def described(target: str) -> dict[str, list[str]]:
    """Service -> its methods, as a client finds them that knows nothing."""
    with grpc.insecure_channel(target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        return {
            name: [method.name for method in pool.FindServiceByName(name).methods] for name in database.get_services()
        }


async def test_a_client_that_knows_nothing_finds_every_service_and_method() -> None:
    services = grpc_services()
    async with channel_to(services, dispatcher_of().answer) as (_, target, _door):
        found = await asyncio.to_thread(described, target)
    assert set(SERVICES) <= found.keys()
    assert {name: sorted(methods) for name, methods in found.items()} == {
        service.name: sorted(service.methods) for service in services
    }


@pytest.mark.parametrize("service", grpc_services(), ids=lambda service: service.name)
def test_methods_take_the_messages_that_are_described(service: Any) -> None:
    for method in POOL.FindServiceByName(service.name).methods:
        served = service.methods[method.name]
        assert served.request.DESCRIPTOR.name == method.input_type.name
        assert (method.client_streaming, method.server_streaming) == (
            served.each is not None,
            served.each is not None or served.streaming is not None,
        )


async def asked(**request: Any) -> Any:
    """The answer of the newer release."""
    async with channel_to(reflection_services(["a.B"]), dispatcher_of().answer) as (channel, *_):
        method = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        call = stream(channel, method, messages.ServerReflectionResponse)
        await call.write(messages.ServerReflectionRequest(**request))
        await call.done_writing()
        (answer,) = [each async for each in call]
        return answer


async def test_services_are_listed_in_either_release() -> None:
    answer = await asked(list_services="", host="h")
    assert (answer.valid_host, answer.original_request.WhichOneof("message_request")) == ("h", "list_services")
    assert [each.name for each in answer.list_services_response.service] == [
        "a.B",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]


async def test_a_file_comes_with_what_it_imports() -> None:
    answer = await asked(file_containing_symbol="inference.ModelInferRequest")
    assert len(answer.file_descriptor_response.file_descriptor_proto) == 2
    answer = await asked(file_by_filename="model_config.proto")
    assert len(answer.file_descriptor_response.file_descriptor_proto) == 1


async def test_messages_without_extensions_have_none() -> None:
    answer = (await asked(all_extension_numbers_of_type="inference.ModelConfig")).all_extension_numbers_response
    assert (answer.base_type_name, list(answer.extension_number)) == ("inference.ModelConfig", [])


NOT_FOUND, INVALID_ARGUMENT = 5, 3


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        ({"file_by_filename": "no.proto"}, NOT_FOUND, "nothing is described here under 'no.proto'"),
        ({"file_containing_symbol": "a.B"}, NOT_FOUND, "nothing is described here under 'a.B'"),
        ({"all_extension_numbers_of_type": "a.B"}, NOT_FOUND, "no message 'a.B' is described here"),
        (
            {"file_containing_extension": {"containing_type": "inference.ModelConfig", "extension_number": 1}},
            NOT_FOUND,
            "nothing is described here under 'inference.ModelConfig[1]'",
        ),
        ({}, INVALID_ARGUMENT, "a request asks for a file, a symbol, extensions or the list of services; got none"),
    ],
)
async def test_what_is_not_described_is_told_in_the_stream(request_: dict[str, Any], code: int, text: str) -> None:
    error = (await asked(**request_)).error_response
    assert error.error_code == code
    assert error.error_message == text
