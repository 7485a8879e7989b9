"""Messages of the standard gRPC health service (`health.proto`)."""

from __future__ import annotations

from serve.protocols.pool import load, message_class

SERVICE = "grpc.health.v1.Health"

load("health")

HealthCheckRequest = message_class("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = message_class("grpc.health.v1.HealthCheckResponse")
