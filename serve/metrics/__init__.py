"""What `GET /metrics` tells: counting in gateways, the sum over them in the controller, names and text."""
