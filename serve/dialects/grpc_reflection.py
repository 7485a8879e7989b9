"""gRPC server reflection: what services there are and how their messages look, for clients without `.proto` files.

Specification: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md. Descriptions come from the pool of
`serve/protocols/pool.py`, which clients' own packages never meet.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from google.protobuf import descriptor_pb2

from model_store.errors import InvalidInput, ModelNotFound, OnegateError
from serve.dialects.grpc_base import GrpcCall, GrpcMethod, GrpcService, number_of
from serve.errors import status_of
from serve.protocols import reflection as messages
from serve.protocols.pool import POOL


def reflection_services(names: Collection[str]) -> list[GrpcService]:
    """Reflection, in both its releases, of the services `names` and of itself."""
    listed = sorted((*names, *messages.SERVICES))

    async def answer(message: Any, call: GrpcCall) -> Any:
        kind = message.WhichOneof("message_request")
        reply = messages.ServerReflectionResponse(valid_host=message.host, original_request=message)
        if kind == "list_services":
            for name in listed:
                reply.list_services_response.service.add(name=name)
        elif kind == "all_extension_numbers_of_type":
            _add_extensions(reply.all_extension_numbers_response, message.all_extension_numbers_of_type)
        elif kind is None:
            raise InvalidInput("a request asks for a file, a symbol, extensions or the list of services; got none")
        else:
            _add_files(reply.file_descriptor_response, _file(message, kind))
        return reply

    def refusal(message: Any, error: OnegateError) -> Any:
        reply = messages.ServerReflectionResponse(original_request=message)
        reply.error_response.error_code = number_of(status_of(error).grpc)
        reply.error_response.error_message = error.message
        return reply

    methods = {"ServerReflectionInfo": GrpcMethod(messages.ServerReflectionRequest, each=answer, refusal=refusal)}
    return [GrpcService(name, methods) for name in messages.SERVICES]


def _file(message: Any, kind: str) -> Any:
    wanted = getattr(message, kind)
    try:
        if kind == "file_by_filename":
            return POOL.FindFileByName(wanted)
        if kind == "file_containing_symbol":
            return POOL.FindFileContainingSymbol(wanted)
        extended = POOL.FindMessageTypeByName(wanted.containing_type)
        return POOL.FindExtensionByNumber(extended, wanted.extension_number).file
    except KeyError as error:
        name = wanted if isinstance(wanted, str) else f"{wanted.containing_type}[{wanted.extension_number}]"
        raise ModelNotFound(f"nothing is described here under {name!r:.80}") from error


def _add_files(reply: Any, file: Any) -> None:
    """The file, and what it imports: clients would have to ask for those next."""
    files = {}
    waiting = [file]
    while waiting:
        each = waiting.pop()
        if each.name not in files:
            files[each.name] = each
            waiting.extend(each.dependencies)
    for each in files.values():
        described = descriptor_pb2.FileDescriptorProto()
        each.CopyToProto(described)
        reply.file_descriptor_proto.append(described.SerializeToString())


def _add_extensions(reply: Any, name: str) -> None:
    try:
        extended = POOL.FindMessageTypeByName(name)
    except KeyError as error:
        raise ModelNotFound(f"no message {name!r:.80} is described here") from error
    reply.base_type_name = name
    reply.extension_number.extend(sorted(each.number for each in POOL.FindAllExtensions(extended)))
