"""`onegate infer MODEL --input FILE`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

from model_store.errors import ModelNotReady
from model_store.manifest import PAYLOAD
from serve.client import Client, Outputs, Retries
from serve.client.refusals import http_refusal
from serve.commands.input_files import content_type_of, goes_as_it_is, read_inputs
from serve.commands.options import json_option, management_option, model_argument
from serve.https_calls import unreachable
from serve.inference import Payload
from serve.management_client import ManagementClient
from serve.payloads import from_tensors, to_tensors
from serve.tensors import datatype_of, to_json_values

MAX_SHOWN_VALUES = 20
TIMEOUT_S = 60.0


@click.command()
@model_argument()
@click.option(
    "--input",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A .npz, .npy, .csv, .json or image file.",
)
@click.option("--version", help="A version other than the default one: a number, an `as_version`, or a label.")
@click.option("--signature", help="One of the model's signatures other than the default one.")
@click.option("--url", help="The endpoint, over HTTP or gRPC; by default what the gateway's management port names.")
@click.option(
    "--scale",
    type=float,
    default=1.0,
    show_default=True,
    help="Factor for the pixels (0 to 255) of an image, where the model has no processor.",
)
@management_option
@json_option
def command(
    model: str,
    file: Path,
    version: str | None,
    signature: str | None,
    url: str | None,
    scale: float,
    client: ManagementClient,
    as_json: bool,
) -> None:
    """Call MODEL with the tensors of a file and print what it answers.

    A .npz names the inputs, a .csv in its first line; a .npy, an image and a bare JSON list are for models with one
    input. JSON may also be {"name": values} or a whole v2 request. A model with a processor gets an image as it is, and
    one with a handler any file.

    \b
    Example:
      onegate infer digits --input digit.npz
    """
    address = url or client.state()["gateway"]["http"]
    with _endpoint(address, client) as endpoint, _told_unreachable(address):
        described = endpoint.model(model, version=version)
        if signature is None and goes_as_it_is(file, described):
            payload = Payload(file.read_bytes(), content_type_of(file))
            # As tensors, whose answer names the version; the answer to a raw body is the model's own and does not.
            outputs = endpoint.infer(model, to_tensors(payload), version=version, signature=PAYLOAD)
            body = _accepted(from_tensors(outputs))
            click.echo(_answer_text(outputs, body) if as_json else body.decode(errors="replace"))
            return
        inputs = read_inputs(file, described.inputs_of(signature), scale)
        outputs = endpoint.infer(model, inputs, version=version, signature=signature)
    if as_json:
        answered = [_as_json(name, tensor) for name, tensor in outputs.items()]
        click.echo(json.dumps({"model": model, "version": outputs.version, "outputs": answered}))
        return
    for name, tensor in outputs.items():
        click.echo(f"{name}: {datatype_of(tensor)}{list(tensor.shape)} {_as_text(tensor)}")


def _endpoint(address: str, client: ManagementClient) -> Client:
    """With the key and files of `client`, and one try: who waits for a command wants to know why it fails."""
    tls = client.tls
    return Client(
        address,
        api_key=client.key,
        ca=tls.ca,
        certificate=tls.certificate,
        private_key=tls.private_key,
        deadline_s=TIMEOUT_S,
        retries=Retries(tries=1),
    )


@contextmanager
def _told_unreachable(address: str) -> Iterator[None]:
    """Says what a user may do where nobody answers."""
    try:
        yield
    except ModelNotReady as error:
        if isinstance(error.__cause__, OSError):
            raise unreachable("endpoint", address, error.__cause__, "--url names another") from error
        raise


def _accepted(answer: Payload) -> bytes:
    """The body; raises the error that a handler's own status stands for."""
    if 200 <= answer.status < 300:
        return answer.body
    raise http_refusal(answer.status, answer.headers, answer.body)


def _answer_text(outputs: Outputs, answer: bytes) -> str:
    """The answer beside the names of model and version; one that is no JSON is text."""
    try:
        content = json.loads(answer)
    except ValueError:
        content = answer.decode(errors="replace")
    return json.dumps({"model": outputs.model, "version": outputs.version, "answer": content})


def _as_json(name: str, tensor: np.ndarray) -> dict[str, Any]:
    return {"name": name, "datatype": datatype_of(tensor), "shape": list(tensor.shape), "data": to_json_values(tensor)}


def _as_text(tensor: np.ndarray) -> str:
    if tensor.dtype == np.object_:
        return str([element.decode(errors="replace") for element in tensor.ravel()[:MAX_SHOWN_VALUES]])
    return np.array2string(tensor, precision=6, threshold=MAX_SHOWN_VALUES, suppress_small=True)
