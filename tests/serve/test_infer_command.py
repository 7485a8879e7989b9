"""`onegate infer`, against an endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from serve.cli import main
from serve.dialects.registry import http_dialects
from tests.serve.pictures import RED, photograph
from tests.serve.served_models import serving


@pytest.fixture
async def url(tmp_path: Path, free_port: int) -> AsyncIterator[str]:
    async with serving(tmp_path, free_port, http_dialects("torchserve")):
        yield f"http://127.0.0.1:{free_port}"


@pytest.fixture
def rows(tmp_path: Path) -> str:
    np.savez(tmp_path / "rows.npz", x=np.array([[1, 2], [3, 4]]))
    return str(tmp_path / "rows.npz")


async def run(*words: str) -> tuple[int, str]:
    told = await asyncio.to_thread(CliRunner().invoke, main, ["infer", *words])
    return told.exit_code, told.output.strip()


async def test_the_outputs_are_printed(url: str, rows: str) -> None:
    assert await run("double", "--input", rows, "--url", url) == (0, "y: FP32[2, 2] [[2. 4.]\n [6. 8.]]")


@pytest.mark.parametrize("version", [[], ["--version", "1"], ["--version", "1.0"], ["--version", "stable"]])
async def test_a_version_goes_by_number_alias_or_label_and_the_one_that_answered_is_named(
    url: str, rows: str, version: list[str]
) -> None:
    code, told = await run("double", "--input", rows, "--url", url, *version, "--json")
    output = {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [2, 4, 6, 8]}
    assert (code, json.loads(told)) == (0, {"model": "double", "version": "1.0", "outputs": [output]})


async def test_a_picture_goes_as_it_is_to_a_model_with_a_processor(url: str, tmp_path: Path) -> None:
    (tmp_path / "red.jpg").write_bytes(photograph(RED).body)
    code, told = await run("colours", "--input", str(tmp_path / "red.jpg"), "--url", url)
    assert (code, json.loads(told)[0]["class"]) == (0, "red")
    code, told = await run("colours", "--input", str(tmp_path / "red.jpg"), "--url", url, "--json")
    answer = json.loads(told)
    assert (answer["model"], answer["version"], answer["answer"][0]["class"]) == ("colours", "1.0", "red")


async def test_any_file_goes_as_it_is_to_a_handler(url: str, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("hello")
    words = ["echo", "--input", str(tmp_path / "note.txt"), "--url", url]
    assert await run(*words) == (0, "hello")
    code, told = await run(*words, "--version", "stable", "--json")
    assert (code, json.loads(told)) == (0, {"model": "echo", "version": "1.0", "answer": "hello"})


async def test_a_body_that_the_model_refuses_is_told(url: str, tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_bytes(b"no picture")
    code, told = await run("colours", "--input", str(tmp_path / "no.jpg"), "--url", url)
    assert code == 1
    assert told.startswith("onegate: expected a picture (JPEG, ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nobody"], "model 'nobody' is not served here"),
        (["broken"], "model 'broken' can't be called now: its source is damaged"),
        (["double", "--version", "7"], "model 'double' has no version 7 here; callable: 1.0"),
        (["double", "--version", "canary"], "model 'double' has no label 'canary'; labels: stable"),
        (
            ["colours", "--signature", "no"],
            "has no signature 'no'; signatures: serving_default, payload",
        ),
        (["people"], "the model has no input 'x'; inputs: age, city, income"),
    ],
)
async def test_what_is_wrong_is_told_in_one_line(url: str, rows: str, words: list[str], told: str) -> None:
    code, text = await run(*words, "--input", rows, "--url", url)
    assert code == 1
    assert text.endswith(told)
    assert len(text.splitlines()) == 1


async def test_an_endpoint_that_nobody_serves_is_told_with_what_to_do(rows: str, free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}"
    code, text = await run("double", "--input", rows, "--url", url)
    assert code == 1
    assert f"no endpoint answers at {url} ([Errno 111] Connection refused); is `onegate up` running?" in text
    assert text.endswith("--url names another")
