"""Which paths Open Inference over HTTP has, and what they ask."""

from __future__ import annotations

import pytest

from model_store.errors import Unsupported
from serve.dialects.base import NoSuchRoute
from serve.inference import ModelQuery, Query, ServerQuery, StatisticsQuery
from tests.serve.open_inference_bytes import DIALECT, get


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/health/live", "/v2/health/ready"])
def test_paths_about_the_server(path: str) -> None:
    assert DIALECT.decode(get(path)) == ServerQuery()


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v2/models/m", ModelQuery("m")),
        ("/v2/models/m/", ModelQuery("m")),
        ("/v2/models/m/ready", ModelQuery("m")),
        ("/v2/models/m/versions/3", ModelQuery("m", "3")),
        ("/v2/models/m/versions/3/ready", ModelQuery("m", "3")),
        ("/v2/models/versions", ModelQuery("versions")),
        ("/v2/models/ready/ready", ModelQuery("ready")),
        ("/v2/models/m/versions/three", ModelQuery("m", label="three")),
        ("/v2/models/m/versions/-1/ready", ModelQuery("m", label="-1")),
        ("/v2/models/m/versions//ready", ModelQuery("m", "")),
        ("/v2/models/m/config", ModelQuery("m")),
        ("/v2/models/m/versions/3/config", ModelQuery("m", "3")),
        ("/v2/models/config", ModelQuery("config")),
        ("/v2/models/stats", StatisticsQuery()),
        ("/v2/models/m/stats", StatisticsQuery("m")),
        ("/v2/models/m/versions/3/stats", StatisticsQuery("m", "3")),
        ("/v2/models/m/versions/canary/stats", StatisticsQuery("m", "canary")),
        ("/v2/models/stats/versions/3/stats", StatisticsQuery("stats", "3")),
    ],
)
def test_paths_about_a_model(path: str, query: Query) -> None:
    assert DIALECT.decode(get(path)) == query


@pytest.mark.parametrize(
    "path",
    [
        "/v2/health",
        "/v2/health/other",
        "/v2/models",
        "/v2/models/m/other",
        "/v2/models/m/infer/more",
        "/v2/models/m/versions",
        "/v2/models/m/versions/3/other",
        "/v2/models/m/generate",
        "/v2/models/m/versions/3/generate_stream",
        "/v2/models//infer",
        "/v2/models//",
        "/v2/models//versions/1/ready",
        "/v2/infer",
        "/v2/repository",
        "/v2/repository/a/b/index",
        "/v2/repository/models/m",
        "/v2/repository/models//load",
        "/v2/repository/models/m/other",
        "/v2/repository/a/b/models/m/load",
    ],
)
def test_other_paths_are_not_found(path: str) -> None:
    for method in ("GET", "POST"):
        with pytest.raises(NoSuchRoute) as refused:
            DIALECT.decode(get(path, method))
        assert refused.value.status == 404
        assert str(refused.value).startswith("Not Found")
        assert len(str(refused.value)) < 100


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2"),
        ("POST", "/v2/health/live"),
        ("DELETE", "/v2/models/m"),
        ("POST", "/v2/models/m/ready"),
        ("GET", "/v2/models/m/infer"),
        ("PUT", "/v2/models/m/versions/1/infer"),
        ("POST", "/v2/models/stats"),
        ("POST", "/v2/models/m/config"),
        ("GET", "/v2/repository/index"),
        ("GET", "/v2/repository/models/m/load"),
        ("DELETE", "/v2/repository/models/m/unload"),
    ],
)
def test_another_method_on_a_known_path_is_not_allowed(method: str, path: str) -> None:
    with pytest.raises(NoSuchRoute) as refused:
        DIALECT.decode(get(path, method))
    assert (refused.value.status, str(refused.value)) == (405, "Method Not Allowed")


NO_SHARED_MEMORY = "shared memory is not offered here; send the tensor in the request"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/v2/trace/setting", "tracing can't be set over the protocol"),
        ("/v2/models/m/trace/setting", "tracing can't be set over the protocol"),
        ("/v2/logging", "logging can't be set over the protocol"),
        ("/v2/systemsharedmemory/status", NO_SHARED_MEMORY),
        ("/v2/systemsharedmemory/region/r/register", NO_SHARED_MEMORY),
        ("/v2/cudasharedmemory/unregister", NO_SHARED_MEMORY),
    ],
)
def test_extensions_that_are_not_offered_say_why(path: str, reason: str) -> None:
    for method in ("GET", "POST"):
        with pytest.raises(Unsupported, match=f"^{reason}$") as refused:
            DIALECT.decode(get(path, method))
        assert DIALECT.encode_error(get(path, method), refused.value).status == 501
