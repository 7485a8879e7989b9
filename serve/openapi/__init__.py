"""The OpenAPI document of the endpoint and of the management port, one file a protocol."""
