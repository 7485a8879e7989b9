"""`signing` and `store_cache` of the config: read once, kept to at preparation and at every load."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from model_store import node_cache
from model_store.errors import ConfigError, NotSigned
from model_store.signing import sign
from model_store.signing_keys import read_private_key, write_new_pair
from model_store.store import Store
from serve.config import Config, load_config, parse_config
from serve.config_sections.model import ModelConfig
from serve.control.preparation import Preparer
from serve.dispatcher import Dispatcher
from serve.loading import VersionLoader
from serve.router import Router
from serve.routing import ModelRoute, RoutingTable, ServeOptions, UpstreamOptions, VersionEntry
from serve.runtime_loading import load_version
from serve.store_policy import StorePolicy, store_policy
from tests.serve.tiny_versions import manifest
from tests.serve.waiting import PATIENCE_S, eventually

V1 = ("m", 1)


def config(text: str, folder: Path) -> Config:
    return parse_config(f"models: []\n{text}", "a test", folder)


@pytest.fixture
def key(tmp_path: Path) -> Ed25519PrivateKey:
    return read_private_key(write_new_pair(tmp_path / "key.pem")[0])


@pytest.fixture
def policy(tmp_path: Path, key: Ed25519PrivateKey) -> StorePolicy:
    return store_policy(config("signing: {required: true, public_keys: [key.pem.pub]}", tmp_path))


@pytest.fixture
def entry(store: Store, tmp_path: Path) -> VersionEntry:
    """Version 1 of `m`: y = 2 x."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(np.float32(2), "two")],
    )
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), file)
    published = store.publish(msgspec.structs.replace(manifest("m", 0), key="k"), {"model.onnx": file})
    return VersionEntry(published, ServeOptions("inline"))


def test_policy_holds_the_keys_themselves_and_no_paths(policy: StorePolicy, tmp_path: Path) -> None:
    (tmp_path / "key.pem.pub").unlink()

    assert policy.public_keys is not None
    assert policy.public_keys[0].startswith("-----BEGIN PUBLIC KEY-----\n")
    assert policy.cache_bytes == 20 * 2**30
    assert policy.cache_folder is None


def test_without_the_wish_nothing_has_to_be_signed(store: Store, entry: VersionEntry, tmp_path: Path) -> None:
    wanted = store_policy(config("store_cache: {folder: cache, max_gib: 0.5}", tmp_path))

    assert wanted == StorePolicy(str(tmp_path / "cache"), 2**29, None)
    wanted.check(store, entry.manifest)


@pytest.mark.parametrize(
    ("signing", "told"),
    [
        ("{public_keys: [absent.pem]}", r"absent\.pem' can't be read: No such file"),
        ("{public_keys: [key.pem]}", r"key\.pem': expected an Ed25519 public key in PEM"),
    ],
)
@pytest.mark.usefixtures("key")
def test_key_file_that_is_none_is_told_at_the_start(tmp_path: Path, signing: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        store_policy(config(f"signing: {signing}", tmp_path))


def test_signed_versions_without_a_trusted_key_contradict_themselves(tmp_path: Path) -> None:
    (tmp_path / "onegate.yaml").write_text("models: []\nsigning: {required: true}\n")

    with pytest.raises(ConfigError, match=r"signing\.required: needs `public_keys`"):
        load_config(tmp_path / "onegate.yaml", environ={})


async def test_unsigned_version_is_refused_at_preparation_until_it_is_signed(
    store: Store, entry: VersionEntry, policy: StorePolicy, key: Ed25519PrivateKey
) -> None:
    preparer = Preparer(store, 1, policy)
    model = ModelConfig.model_validate({"name": "m", "versions": [{"version": 1}]})
    (version,) = model.wanted_versions()

    with pytest.raises(NotSigned, match="nobody has signed it; `onegate sign m 1 --private-key FILE` does"):
        await preparer.prepare(model, (), {}, print)
    with pytest.raises(NotSigned):
        preparer.stored(model, version, ())
    sign(store, "m", 1, key)
    (wanted,) = await preparer.prepare(model, (), {}, print)
    assert wanted.entry.manifest == entry.manifest
    assert preparer.stored(model, version, ()) == entry.manifest


def test_unsigned_version_is_refused_again_when_it_is_loaded(
    store: Store, entry: VersionEntry, policy: StorePolicy, key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    with pytest.raises(NotSigned):
        load_version(store.url, entry, tmp_path / "loaded", policy=policy)
    sign(store, "m", 1, key)
    assert load_version(store.url, entry, tmp_path / "loaded", policy=policy) is not None


async def test_gateway_tells_why_it_does_not_load_an_unsigned_version(
    store: Store, entry: VersionEntry, policy: StorePolicy, tmp_path: Path
) -> None:
    loader = VersionLoader(Dispatcher(Router()), tmp_path / "loaded", "here", "secret", policy=policy)
    loader.follow(RoutingTable(1, store.url, (entry,), {"m": ModelRoute(((1, 100),))}))

    await eventually(lambda: loader.states.get(V1, "").startswith("NotSigned: "))
    assert "no trusted key vouches for version 1 of 'm': nobody has signed it" in loader.states[V1]


async def test_unsigned_version_of_an_upstream_is_refused_when_a_gateway_takes_it_up(
    store: Store, entry: VersionEntry, policy: StorePolicy, key: Ed25519PrivateKey, tmp_path: Path, free_port: int
) -> None:
    """It has no files; its manifest says who is called."""
    there = msgspec.structs.replace(
        entry.manifest,
        key="there",
        framework="upstream",
        runtime="upstream",
        source_name=f"grpc://127.0.0.1:{free_port}/m",
        files={},
    )
    published = store.publish(there, {})
    elsewhere = VersionEntry(published, ServeOptions("upstream", upstream=UpstreamOptions()))
    loader = VersionLoader(Dispatcher(Router()), tmp_path / "loaded", "here", "secret", policy=policy)
    loader.follow(RoutingTable(1, store.url, (elsewhere,)))
    await eventually(lambda: loader.states.get(elsewhere.key, "").startswith("NotSigned: "))

    sign(store, "m", published.version, key)
    loader.follow(RoutingTable(2, store.url, (elsewhere,)))
    # Nobody listens there, which is found out only once somebody may be called.
    await eventually(lambda: elsewhere.key in loader._dispatcher.loaded)
    loader.follow(RoutingTable(3, store.url))
    await eventually(lambda: not loader.states)


async def test_loads_that_wait_for_a_store_leave_other_threads_to_requests(
    store: Store, entry: VersionEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compressed bodies, for one, are unpacked in the loop's own threads."""
    end, begun = threading.Event(), threading.Semaphore(0)

    def stalled(*words: Any, **named: Any) -> None:
        begun.release()
        end.wait(30)
        raise NotSigned("the test ends")

    monkeypatch.setattr("serve.executor_factory.load_version", stalled)
    loader = VersionLoader(Dispatcher(Router()), tmp_path / "loaded", "here", "secret")
    many = tuple(
        msgspec.structs.replace(entry, manifest=msgspec.structs.replace(entry.manifest, version=n))
        for n in range(1, 80)
    )
    loader.follow(RoutingTable(1, store.url, many))
    try:
        assert await asyncio.to_thread(begun.acquire, timeout=30)
        async with asyncio.timeout(PATIENCE_S):
            assert await asyncio.to_thread(lambda: "unpacked") == "unpacked"
    finally:
        end.set()
    await eventually(lambda: len(loader.states) == 79 and set(loader.states.values()) == {"NotSigned: the test ends"})


def test_local_store_takes_no_cache(store: Store, entry: VersionEntry, tmp_path: Path) -> None:
    opened = StorePolicy(str(tmp_path / "cache"), 2**30).open(store.url)
    opened.checkout(entry.manifest, tmp_path / "out")

    assert not (tmp_path / "cache").exists()
    assert node_cache.default_folder().name == "blobs"
