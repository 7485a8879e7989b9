"""Which route a path of the management port belongs to."""

from __future__ import annotations

import pytest

from serve.management_paths import route_of


@pytest.mark.parametrize(
    ("path", "route", "model"),
    [
        ("/api/models/m/comparison", "/api/models/{model}/comparison", "m"),
        ("/api/models/resnet-50.v1/comparison", "/api/models/{model}/comparison", "resnet-50.v1"),
        ("/api/models/m/nothing", "/api/models/{model}/nothing", "m"),
        ("/api/models//comparison", "/api/models//comparison", ""),
        ("/api/models/m/comparison/", "/api/models/m/comparison/", ""),
        ("/api/models/{model}/comparison", "/api/models/{model}/comparison", "{model}"),
        ("/api/state", "/api/state", ""),
    ],
)
def test_the_route_of_a_path(path: str, route: str, model: str) -> None:
    assert route_of(path) == (route, model)
