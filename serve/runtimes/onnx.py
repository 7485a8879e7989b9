"""The `onnx` runtime: ONNX Runtime on the CPUs, or the GPU, that were given.

Strings: ONNX Runtime's Python binding takes `bytes` in a string tensor as the text "b'..'" without an error, so BYTES
tensors become text on the way in and bytes on the way out.
"""

from __future__ import annotations

import math
import mmap
import threading
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import OrtArenaCfg

from converters.graph import session_options
from model_store.datatypes import DTYPES
from model_store.errors import InvalidInput, first_line
from model_store.manifest import Manifest, Signature
from serve.devices import CPU, Device
from serve.inference import InputsWithRoom, Tensors
from serve.memory import most_bytes, telling_of_memory
from serve.runtimes.onnx_providers import load_cuda_libraries, require_providers, session_providers

MODEL_FILE = "model.onnx"

_LOOP = b'"\x04Loop'
"""A node's field `op_type` (onnx.proto: 4) with that name."""

_FAILURES = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
)
"""The kinds under which a failed allocation comes, among much else."""


class OnnxRuntime:
    """Sessions on `threads` intra-op threads, one for each signature.

    Graph optimisation is ONNX Runtime's default, all of it; where the version brings a graph that this very release has
    optimised, that one is loaded, and only what is specific to the processor is left to do. That graph is for CPUs: a
    GPU has the plain one.

    Raises `ModelNotReady` when a session lacks a provider that the device has.
    """

    def __init__(self, folder: Path, manifest: Manifest, threads: int, device: Device = CPU) -> None:
        self._default = manifest.default_signature
        files = {folder / _graph_file(manifest, name, device) for name in manifest.signatures}
        self.may_loop = any(_loops(file) for file in files)
        """Whether a graph has a loop, whose values may decide how long it runs."""
        sessions = len(manifest.signatures)
        self._graphs = {
            name: _Graph(_session(folder / _graph_file(manifest, name, device), threads, device, sessions), signature)
            for name, signature in manifest.signatures.items()
        }

    def run(self, inputs: Tensors, signature: str | None = None) -> Tensors:
        """All outputs of a signature for one batch; raises `InvalidInput` for values that the graph refuses."""
        return self._graphs[signature or self._default].run(inputs)


def _loops(file: Path) -> bool:
    """Whether a graph, or one inside it, names the operator. Parsed it would be read a second time as a whole."""
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_LOOP) >= 0


class _Graph:
    """The session of one signature."""

    def __init__(self, session: onnxruntime.InferenceSession, signature: Signature) -> None:
        self._session = session
        self._signature = signature
        self._keeps_shapes = True
        """Whether outputs have had the shapes of the signature so far, where these are known beforehand."""
        self._output_names = [spec.name for spec in signature.outputs]
        self._bytes_inputs = frozenset(spec.name for spec in signature.inputs if spec.datatype == "BYTES")
        self._bytes_outputs = frozenset(spec.name for spec in signature.outputs if spec.datatype == "BYTES")

    def run(self, inputs: Tensors) -> Tensors:
        places = self._places(inputs) if isinstance(inputs, InputsWithRoom) and self._keeps_shapes else {}
        answer = self._run_into(places, inputs) if places else None
        if answer is None:
            answer = self._run(inputs)
            # To compute twice costs more than the copy that is saved. Where both ways fail, it is the values' fault.
            self._keeps_shapes &= not places
        for name in self._bytes_outputs:
            answer[name] = _to_bytes(answer[name])
        return answer

    def _places(self, inputs: InputsWithRoom) -> Tensors:
        """Outputs in the room that there is for them, as far as their shapes are told by the signature; of an output
        whose first dimension is free, that it has as many rows as the first input."""
        places: Tensors = {}
        if self._bytes_inputs:
            return places
        rows = next(iter(inputs.values())).shape[:1]
        for spec in self._signature.outputs:
            shape = rows + spec.shape[1:] if spec.shape[:1] == (-1,) else spec.shape
            room, dtype = inputs.room.get(spec.name), DTYPES[spec.datatype]
            size = math.prod(shape) * dtype.itemsize
            if room is not None and spec.datatype != "BYTES" and min(shape, default=1) > 0 and size <= len(room):
                places[spec.name] = np.frombuffer(room, dtype, math.prod(shape)).reshape(shape)
        return places

    def _run_into(self, places: Tensors, inputs: Tensors) -> Tensors | None:
        """As `_run`, with outputs written to their places. None where that can't be: an output has another shape or is
        an input as it came, or the graph refuses the values."""
        binding = self._session.io_binding()
        for name, tensor in inputs.items():
            binding.bind_cpu_input(name, tensor)
        for name in self._output_names:
            place = places.get(name)
            if place is None:
                binding.bind_output(name)
            else:
                binding.bind_output(name, "cpu", 0, place.dtype, place.shape, place.ctypes.data)
        try:
            self._session.run_with_iobinding(binding)
        except Exception:
            return None
        answer: Tensors = {}
        for name, value in zip(self._output_names, binding.get_outputs(), strict=True):
            place = places.get(name)
            if place is not None and value.data_ptr() != place.ctypes.data:
                return None
            # The value of an output that is an input looks into the input's memory, and does not hold it.
            answer[name] = value.numpy().copy() if place is None else place
        return answer

    def _run(self, inputs: Tensors) -> Tensors:
        if self._bytes_inputs:
            inputs = {name: _to_text(name, t) if name in self._bytes_inputs else t for name, t in inputs.items()}
        try:
            outputs = self._session.run(self._output_names, inputs)
        except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument as error:
            raise InvalidInput(f"the model refuses these values: {first_line(error)}") from error
        except (MemoryError, *_FAILURES):
            with telling_of_memory("the model can't be run on so large an input"):
                raise
        return dict(zip(self._output_names, outputs, strict=True))


def _graph_file(manifest: Manifest, signature: str, device: Device) -> str:
    plain = manifest.graphs.get(signature, MODEL_FILE)
    if device.kind != "cpu" or manifest.libraries.get("onnxruntime") != onnxruntime.__version__:
        return plain
    return manifest.optimised.get(plain, plain)


_registering = threading.Lock()


@cache
def _share_memory() -> None:
    """Once a process: all sessions take the memory of their calls from one allocator.

    With one of its own, each keeps that of its largest call for good: 25 MB for a net of two convolutions that was
    warmed up with a batch of 64, however rarely it is called.
    """
    cpu = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    # Without a limit, one input that asks for more than there is makes the allocator take all the memory it can get the
    # next time that it grows, and keep a 32nd part of that in use for its own tables.
    onnxruntime.create_and_register_allocator(cpu, OrtArenaCfg({"max_mem": most_bytes()}))


def _session(model: Path, threads: int, device: Device, sessions: int) -> onnxruntime.InferenceSession:
    options = session_options(threads=threads)
    options.inter_op_num_threads = 1
    # Threads that go on spinning after a run take the CPU from whatever prepares the next batch.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if device.kind == "cpu":
        with _registering:
            _share_memory()
        options.add_session_config_entry("session.use_env_allocators", "1")
        # Weights come and go with their session; between what is shared they would leave holes.
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    else:
        # Everything, weights too, stays in the session's own arena, whose limit counts it.
        load_cuda_libraries()
    # By itself a session would go on with the CPU where the GPU fails, at the start and later.
    session = onnxruntime.InferenceSession(
        str(model), sess_options=options, providers=session_providers(device, sessions), enable_fallback=0
    )
    require_providers(session, device)
    return session


def _to_text(name: str, tensor: np.ndarray) -> np.ndarray:
    text = np.empty(tensor.shape, dtype=object)
    try:
        text.ravel()[:] = [element.decode() for element in tensor.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"input {name!r}: expected UTF-8 text, got bytes that are not: {error.reason}") from error
    return text


def _to_bytes(tensor: np.ndarray) -> np.ndarray:
    raw = np.empty(tensor.shape, dtype=object)
    raw.ravel()[:] = [str(element).encode() for element in tensor.ravel()]
    return raw
