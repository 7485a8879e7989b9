"""Traces of requests: what is kept of them, and how they reach an OpenTelemetry collector."""
