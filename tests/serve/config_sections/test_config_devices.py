"""Keys on CPUs, GPUs and other resources: what they may be, what goes together, and what a version then asks for."""
# ruff: noqa: E501  # a case and its message read best in one row

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_store.errors import ConfigError
from model_store.manifest import Profile
from serve.config import parse_config
from serve.config_sections.serve import ServeConfig
from serve.control.serve_options import serve_options
from serve.devices import DeviceOptions, Provider
from serve.reports import deployment_text
from serve.routing import ServeOptions, VersionEntry, runs_differently
from tests.serve.tiny_versions import manifest


def refusal(serve: str) -> str:
    with pytest.raises(ConfigError) as refused:
        parse_config(f"models: [{{name: a, source: x, serve: {serve}}}]", "c", Path("/"))
    return refused.value.message.removeprefix("c:1: models[0].serve.")


@pytest.mark.parametrize(
    ("serve", "message"),
    [
        ("{cpus: 0}", "cpus: expected a number above 0 and at most 256, got 0"),
        ("{threads: 1.5}", "threads: expected a whole number from 1 to 256, got 1.5"),
        ("{gpus: 1.5}", "gpus: expected a fraction from 0 to 1, or a whole number up to 64, got 1.5; Ray shares out one GPU, or gives several whole ones"),
        ("{gpus: -1}", "gpus: expected a fraction from 0 to 1, or a whole number up to 64, got -1; Ray shares out one GPU, or gives several whole ones"),
        ("{device: nvidia}", "device: expected auto, cpu or cuda, got 'nvidia'"),
        ("{gpus: 1, providers: [{name: rocm}]}", "providers[0].name: expected cuda, tensorrt or cpu, got 'rocm'"),
        ("{gpus: 1, providers: []}", "providers: expected at least one mapping, got none; leave the key out instead"),
        ("{gpus: 1, providers: [{name: cuda, options: {a: [1]}}]}", "providers[0].options.a: expected text, number, true or false, got a list"),
        ("{gpus: 1, providers: [{name: cuda, options: {a: {b: 1}}}]}", "providers[0].options.a: expected text, number, true or false, got a mapping"),
        ("{resources: {licence: x}}", "resources.licence: expected a number, got 'x'"),
        ("{resources: 1}", "resources: expected a mapping of text to number, got 1"),
        ("{resources: {GPU: 1}}", "resources: expected amounts above 0 by the names of resources other than CPU, GPU and memory, got a mapping; CPUs and GPUs have keys of their own"),
        ("{gpu_memory_mib: 0, gpus: 1}", "gpu_memory_mib: expected a whole number from 1 to 1048576, got 0"),
        ("{device: cpu, gpus: 1}", "gpus: device 'cpu' uses none, got 1; leave out one of the two"),
        ("{device: cuda, gpus: 0}", "gpus: device 'cuda' needs a GPU, or a fraction of one, got 0"),
        ("{executor: inline, gpus: 0.5}", "gpus: a GPU needs executor 'replicas' or 'auto', got 'inline': gateways have none"),
        ("{executor: inline, device: cuda}", "device: a GPU needs executor 'replicas' or 'auto', got 'inline': gateways have none"),
        ("{executor: inline, resources: {licence: 1}}", "resources: needs executor 'replicas' or 'auto', got 'inline': gateways are placed by themselves"),
        ("{gpu_memory_mib: 512}", "gpu_memory_mib: is for a replica with a GPU; set 'gpus', or leave it out"),
        ("{accelerator_type: T4}", "accelerator_type: is for a replica with a GPU; set 'gpus', or leave it out"),
        ("{providers: [{name: cuda}]}", "providers[0].name: the provider 'cuda' needs a GPU; set 'gpus'"),
        ("{gpus: 1, providers: [{name: cpu}]}", "providers: a GPU needs the provider 'cuda' or 'tensorrt' among them"),
        ("{gpus: 1, providers: [{name: cuda}, {name: cuda}]}", "providers[1].name: the provider 'cuda' stands here twice"),
    ],
)  # fmt: skip
def test_a_mistake_on_devices_is_told(serve: str, message: str) -> None:
    assert refusal(serve) == message


@pytest.mark.parametrize("serve", ["{gpus: 0}", "{gpus: 0.25}", "{gpus: 1}", "{gpus: 4}", "{cpus: 0.5}", "{cpus: 3}"])
def test_fractions_and_whole_numbers_are_admitted(serve: str) -> None:
    parse_config(f"models: [{{name: a, source: x, serve: {serve}}}]", "c", Path("/"))


def options(**keys: Any) -> ServeOptions:
    fast = msgspec.structs.replace(manifest(), profile=Profile(1, 0.1, 0.1, 64))
    return serve_options(ServeConfig.model_validate(keys), fast)


@pytest.mark.parametrize(
    ("keys", "devices"),
    [
        ({}, DeviceOptions()),
        ({"device": "cuda"}, DeviceOptions("cuda", 1)),
        ({"device": "cuda", "gpus": 0.5}, DeviceOptions("cuda", 0.5)),
        ({"gpus": 2, "gpu_memory_mib": 512}, DeviceOptions("auto", 2, gpu_memory_mib=512)),
        (
            {"gpus": 1, "providers": [{"name": "tensorrt", "options": {"trt_fp16_enable": True}}, {"name": "cuda"}]},
            DeviceOptions("auto", 1, (Provider("tensorrt", {"trt_fp16_enable": True}), Provider("cuda"))),
        ),
        (
            {"resources": {"licence": 1}, "gpus": 1, "accelerator_type": "A100"},
            DeviceOptions("auto", 1, resources={"licence": 1}, accelerator_type="A100"),
        ),
    ],
)
def test_a_version_asks_for_what_the_config_says(keys: dict[str, Any], devices: DeviceOptions) -> None:
    assert options(**keys).devices == devices


@pytest.mark.parametrize(
    ("keys", "executor"),
    [
        ({}, "inline"),
        ({"gpus": 0.5}, "replicas"),
        ({"device": "cuda"}, "replicas"),
        ({"resources": {"a": 1}}, "replicas"),
    ],
)
def test_a_fast_model_leaves_the_gateway_for_a_gpu_or_a_resource(keys: dict[str, Any], executor: str) -> None:
    assert options(**keys).executor == executor


@pytest.mark.parametrize(
    ("keys", "threads"), [({}, 1), ({"cpus": 0.5}, 1), ({"cpus": 2.5}, 3), ({"cpus": 4, "threads": 2}, 2)]
)
def test_threads_are_the_cpus_rounded_up(keys: dict[str, Any], threads: int) -> None:
    assert options(**keys).cpu_threads == threads


def described(**keys: Any) -> str:
    return deployment_text(VersionEntry(manifest("m", 1), options(executor="replicas", **keys)))


def test_replicas_of_the_defaults_are_told_as_ever() -> None:
    assert described() == "m-1/1/64"
    assert described(cpus=2.0, device="auto", gpus=0) == "m-1/2/64"


@pytest.mark.parametrize(
    "keys",
    [
        {"cpus": 0.5},
        {"threads": 2},
        {"device": "cpu"},
        {"gpus": 0.5},
        {"gpus": 1, "gpu_memory_mib": 100},
        {"gpus": 1, "providers": [{"name": "cuda", "options": {"use_tf32": 1}}]},
        {"resources": {"licence": 1}},
        {"gpus": 1, "accelerator_type": "T4"},
    ],
)
def test_another_place_needs_other_replicas(keys: dict[str, Any]) -> None:
    before, after = (VersionEntry(manifest("m", 1), options(executor="replicas", **each)) for each in ({}, keys))
    assert deployment_text(before) != deployment_text(after)
    assert runs_differently(before, after)
