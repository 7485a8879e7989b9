"""Loading from an S3 store that is silent: what is loaded answers, and what is not has a reason in bounded time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest
from s3fs import S3FileSystem

from model_store import remote
from model_store.store import Store
from serve import loading
from serve.dispatcher import Dispatcher
from serve.inference import InferenceRequest
from serve.loading import VersionLoader
from serve.reports import READY
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, ServeOptions, VersionEntry
from tests.e2e.models import write_multiplier
from tests.model_store.s3 import BUCKET, s3_way
from tests.serve.tiny_versions import manifest
from tests.serve.waiting import PATIENCE_S, eventually

V1, V2 = ("times", 1), ("times", 2)


async def test_silent_store_fails_a_load_with_a_reason_and_leaves_the_loaded_version_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = {"connect_timeout": 2, "read_timeout": 2, "retries": {"mode": "standard", "total_max_attempts": 2}}
    monkeypatch.setattr(remote, "_S3_PATIENCE", patience)
    with s3_way() as way:
        store = Store(f"s3://{BUCKET}/store")
        entries = []
        for factor in (3, 5):
            write_multiplier(tmp_path / "model.onnx", factor)
            described = msgspec.structs.replace(manifest("times", 0), key=f"key-{factor}")
            published = await asyncio.to_thread(store.publish, described, {"model.onnx": tmp_path / "model.onnx"})
            entries.append(VersionEntry(published, ServeOptions("inline")))
        dispatcher = Dispatcher(Router())
        loader = VersionLoader(dispatcher, tmp_path / "loaded", "here", "secret")
        route = {"times": ModelRoute(((1, 100),))}
        loader.follow(RoutingTable(1, store.url, tuple(entries[:1]), route))
        await eventually(lambda: loader.states == {V1: READY})

        way.spoil("silent")
        loader.follow(RoutingTable(2, store.url, tuple(entries), route))
        answers = 0
        async with asyncio.timeout(PATIENCE_S):
            while not loader.states.get(V2, "").startswith("StoreError: "):
                request = InferenceRequest("times", inputs={"x": np.ones((1, 2), np.float32)})
                response = await dispatcher.infer(request)
                assert response.outputs is not None
                assert response.outputs["y"].tolist() == [[3.0, 3.0]]
                answers += 1
                await asyncio.sleep(0.01)
        assert answers > 20
        assert loader.states[V2].startswith(f"StoreError: store '{store.url}' can't be read: ")
        assert loader.states[V1] == READY

        await loader.reconnect()
        assert loader.states[V2].startswith("StoreError: ")
        monkeypatch.setattr(loading, "RETRY_S", 0.0)
        way.spoil("none")
        assert loader.states[V2].startswith("StoreError: ")
        async with asyncio.timeout(PATIENCE_S):
            while loader.states != {V1: READY, V2: READY}:
                # As the gateway does every second, without a newer table.
                await loader.reconnect()
                await asyncio.sleep(0.1)
        S3FileSystem.clear_instance_cache()
