"""Messages of gRPC server reflection (`reflection.proto`, `reflection_v1alpha.proto`).

Both releases have the same bytes, so that the messages of `v1` serve both; the other file is there to be described.
"""

from __future__ import annotations

from serve.protocols.pool import load, message_class

SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

load("reflection")
load("reflection_v1alpha")

ServerReflectionRequest = message_class("grpc.reflection.v1.ServerReflectionRequest")
ServerReflectionResponse = message_class("grpc.reflection.v1.ServerReflectionResponse")
