"""What is known of one version: the manifest that lies beside its files in the store.

Manifests are JSON, sealed (`seal.py`) and written once. A reader must refuse a `format` that it does not know.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from model_store.seal import SEALED_FORMAT, check_format, is_sealed, seal

MANIFEST_FORMAT = SEALED_FORMAT

DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "BF16", "FP32", "FP64", "BYTES",
)  # fmt: skip
"""Names of element types, as the Open Inference Protocol spells them."""


class TensorSpec(msgspec.Struct, frozen=True):
    """A tensor of a signature. `shape` holds -1 for a dimension that may differ between requests;
    the first dimension is the batch when it is -1."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Signature(msgspec.Struct, frozen=True):
    """One way to call a version: named inputs to named outputs, in the model's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


PAYLOAD = "payload"
"""The signature under which a version with a processor or a handler takes raw bodies."""

PAYLOAD_SIGNATURE = Signature(
    inputs=tuple(TensorSpec(name, "BYTES", (-1,)) for name in ("body", "content_type", "fields", "headers")),
    outputs=(
        *(TensorSpec(name, "BYTES", (-1,)) for name in ("body", "content_type", "headers")),
        TensorSpec("status", "INT32", (-1,)),
    ),
)
"""One raw body a row. `fields`, the named parts of a form, and `headers` are JSON objects; a field's bytes are text in
base64, those of a file `[base64, content type]`. `status` is an HTTP status."""


class ImageProcessor(msgspec.Struct, frozen=True, kw_only=True, tag="image", tag_field="type"):
    """A picture in, the likeliest classes out: decode, resize, `(x * scale - mean) / std`, batch, run, sort."""

    input: str | None = None
    """The input that takes the picture; None for the only one."""
    output: str | None = None
    """The output that holds the scores; None for the first one."""
    height: int | None = None
    width: int | None = None
    """Size in pixels; None where the signature says it."""
    resize_shorter: int | None = None
    """First resize the shorter side to this and cut the centre out; None squeezes the picture into its size."""
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    colour: Literal["RGB", "BGR", "GRAY"] = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """One a channel, or one for all; none leaves the pixels (0 to 255) times `scale`."""
    softmax: bool = False
    """Whether the scores become probabilities first."""
    top: int = 5
    style: Literal["mms", "torchserve"] = "mms"
    """How the answer is written: `[{"probability": p, "class": label}, ..]` or `{label: p, ..}`."""


class JsonProcessor(msgspec.Struct, frozen=True, kw_only=True, tag="json", tag_field="type"):
    """A JSON body in, a JSON body out: `{input: values}`, or bare values for the only input."""


Processor = ImageProcessor | JsonProcessor
"""What turns a raw body into tensors and outputs into a body, in front of and behind a runtime."""


class HandlerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a version of the runtime `handler` is started: an archive's own code in a child process of the replica."""

    server: Literal["mms", "torchserve"]
    """Whose conventions the handler follows."""
    entry: str
    """`module:function`, or the file of a module, as the archive's manifest names it."""
    requirements: str | None = None
    """File of the version that pip takes; None runs the handler in the replica's own environment."""
    python: str | None = None
    """Command of another Python for the handler's environment."""
    batch_size: int = 1
    max_batch_delay_ms: float = 0.0
    response_timeout_s: float = 120.0
    properties: dict[str, str] = {}
    """What the handler finds in `context` beside its folder: `model_name`, `model_file`, `serialized_file`, ..."""


class FileEntry(msgspec.Struct, frozen=True):
    """A file of the version: where its bytes are (`blobs/sha256/<sha256>`) and how many there are."""

    sha256: str
    size: int


class OutputParity(msgspec.Struct, frozen=True):
    """How far one output is from the source's own framework, over all batches and seeds.

    `max_rel_error` is `max_abs_error / scale`; `scale` is the largest finite magnitude of the reference's
    output. `class_agreement` is the share of rows whose arg-max agrees, for floating outputs of rank 2 with
    several columns.
    """

    name: str
    max_abs_error: float
    max_rel_error: float
    scale: float
    class_agreement: float | None = None
    signature: str = "serving_default"


class EdgeParity(msgspec.Struct, frozen=True):
    """What unusual inputs showed: `kind` is `zeros`, `large` (finite, far outside of the usual range) or `missing`
    (NaN in every second row). `outcome` is `equal`, `refused` (by the source's framework, so nothing was compared),
    `unsteady` (the source itself answers such a row differently when it comes alone), or what differed; a difference
    that the gate does not forgive is in the report's `reason` too."""

    kind: str
    outcome: str
    signature: str = "serving_default"


class ParityReport(msgspec.Struct, frozen=True):
    """The measured agreement between the source's own framework and the converted model."""

    passed: bool
    max_abs_error: float
    max_rel_error: float
    rtol: float
    batches: tuple[int, ...]
    seeds: tuple[int, ...]
    outputs: tuple[OutputParity, ...]
    reference: str
    """What it was compared with, as 'pytorch 2.13.0'."""
    row_independent: bool
    """Whether each row of a batch was shown to be answered as if it came alone."""
    reason: str | None = None
    """What differed, when it did not pass."""
    deterministic: bool = True
    """Whether the same inputs gave the same answers twice."""
    edges: tuple[EdgeParity, ...] = ()
    class_agreement: float | None = None
    """The share of rows whose class had to agree, where the gate asked for one."""


class Profile(msgspec.Struct, frozen=True):
    """Measured once at conversion, on one CPU thread of the version's runtime: milliseconds a call, at batch one and at
    the largest batch that the config allows; milliseconds to load. The `plain_` figures are those without the saved
    optimisation of the graph."""

    batch_one_ms: float
    largest_batch: int
    largest_batch_ms: float
    load_ms: float | None = None
    plain_batch_one_ms: float | None = None
    plain_load_ms: float | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of a version beside its files. `version` is 0 until the store has assigned one."""

    format: int = MANIFEST_FORMAT
    name: str
    version: int = 0
    key: str
    """Digest of source bytes, converter and options: the same key means the same version."""
    created: str
    """UTC, ISO 8601."""
    framework: str
    source_digest: str
    source_name: str
    runtime: str
    reason: str | None = None
    """Why it is not served as ONNX, where it isn't."""
    trusted: bool = False
    """Whether loading its files runs code that they carry, which whoever published it allowed."""
    files: dict[str, FileEntry]
    signatures: dict[str, Signature]
    default_signature: str = "serving_default"
    graphs: dict[str, str] = {}
    """Signature -> its ONNX file, for ONNX versions; `model.onnx` for one that is not listed."""
    optimised: dict[str, str] = {}
    """ONNX file -> the same graph as ONNX Runtime's CPU provider optimised it; `libraries` says for which release."""
    fixed_batch: dict[str, int] = {}
    """Signature -> the only batch that its graph computes; requests are padded to it and split around it."""
    opset: int | None = None
    precision: str = "float32"
    parity: ParityReport | None = None
    row_independent: bool = False
    profile: Profile | None = None
    processor: Processor | None = None
    """What serves raw bodies, where something does; `signatures` then has `PAYLOAD` too."""
    handler: HandlerSpec | None = None
    """For the runtime `handler` only."""
    labels: tuple[str, ...] | None = None
    """Names of the classes, in the order of the model's scores."""
    libraries: dict[str, str] = {}
    """Library -> version, of all that took part in the conversion."""
    seconds: float = 0.0
    """How long the conversion took, the parity gate included."""
    licence: str | None = None
    notes: str | None = None


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as sealed, indented JSON, for people who look into a store."""
    return seal(manifest)


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in `data`; raises `ValueError` when it is damaged, or not one that this release can read."""
    sealed = is_sealed(data)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not a manifest: {error}") from error
    check_format(sealed, manifest.format, "manifest")
    return manifest
