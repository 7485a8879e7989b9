"""PyTorch sources: programs of torch.export, TorchScript, state dicts and pickled modules.

The networks are in `pytorch_layers.py`, `pytorch_sequences.py` and `pytorch_structure.py`, and what a user ships with
a package in `pytorch_pretrained.py`.
"""

from __future__ import annotations

from functools import partial

from model_store.manifest import TensorSpec
from tests.sources import pytorch_architectures as architectures
from tests.sources import pytorch_layers as layers
from tests.sources import pytorch_sequences as sequences
from tests.sources import pytorch_structure as structure
from tests.sources.pytorch_pretrained import PRETRAINED
from tests.sources.pytorch_writing import case
from tests.sources.table import SourceCase


def floats(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "FP32", shape)


def ids(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, "INT64", shape)


IMAGE = (floats("input", -1, 3, 16, 16),)
BFLOAT16 = "ONNX Runtime has no bfloat16 kernels for the CPU; cast the model to float32 to have it as ONNX"

CASES: list[SourceCase] = [
    case("mlp", "program", layers.mlp),
    case("cnn-batch-norm", "program", layers.cnn),
    case("resnet-block", "program", layers.resnet),
    case("depthwise-grouped", "program", layers.mobile),
    case("transposed-convolutions", "program", layers.decoder),
    case("convolution-3d", "program", layers.volume),
    case("norms", "program", layers.norms),
    case("interpolate", "program", layers.interpolate),
    case("free-height-and-width", "program", layers.any_size),
    case("grid-sample", "program", layers.grid_sample),
    case("pixel-shuffle", "program", layers.pixel_shuffle),
    case("topk-scatter-cumsum-einsum", "program", layers.selection),
    case(
        "topk-places",
        "program",
        layers.ties,
        expect="native",
        remark="PyTorch places equal values differently than ONNX Runtime; give out the values to have ONNX",
        reason="'zeros': output 'output' differs",
    ),
    case("stft", "program", layers.spectrum),
    case("fft", "program", layers.fourier),
    case("frozen-batch-1", "program", partial(layers.frozen, 1)),
    case("frozen-batch-4", "program", partial(layers.frozen, 4)),
    case("unet", "program", architectures.unet),
    case("temporal-convolutions", "program", architectures.temporal),
    case("language-model-block", "program", architectures.language_block),
    case("recommender", "program", architectures.recommender),
    case("mixture-of-experts", "program", architectures.experts),
    case("point-cloud", "program", architectures.points),
    case("lstm-bidirectional", "program", sequences.lstm),
    case("lstm-tagger", "program", sequences.lstm_tagger),
    case("gru-with-state", "program", sequences.gru),
    case("rnn", "program", sequences.rnn),
    case("lstm-cell-steps", "program", sequences.cells),
    case("multihead-attention", "program", sequences.attention),
    case("transformer-encoder", "program", sequences.encoder),
    case("causal-attention", "program", sequences.causal),
    case("embedding-bag", "program", sequences.embedding_bag),
    case("transformers-bert", "program", sequences.bert),
    case("transformers-vit", "program", sequences.vit),
    case("transformers-gpt2", "program", sequences.gpt2),
    case("float16", "program", partial(structure.linear, "float16"), rtol=4e-3),  # 8 units in the last place
    case("float64", "program", partial(structure.linear, "float64")),
    case(
        "bfloat16",
        "program",
        partial(structure.linear, "bfloat16"),
        expect="native",
        remark=BFLOAT16,
        reason="NOT_IMPLEMENTED|BF16|bfloat16",
        rtol=4e-2,  # one unit in the last place is 8e-3
    ),
    case("integers-and-flags", "program", structure.integers),
    case("nested-inputs-and-outputs", "program", structure.nested),
    case("unused-input", "program", structure.unused),
    case("buffer-that-counts", "program", structure.counter),
    case("constants-in-and-out", "program", structure.constants),
    case("as-many-rows-as-found", "program", structure.found),
    case("scalar-outputs", "program", structure.sizes),
    case("float16-convolution", "program", structure.half_convolution, rtol=8e-3),  # 8 units in the last place
    case(
        "matrix-inverse",
        "program",
        structure.inverse,
        expect="native",
        remark="ONNX has no operator for an inverse or a decomposition of matrices; nothing is to be done",
        reason=r"PyTorch's ONNX exporter fails: it has no operator for aten\.linalg_inv_ex",
    ),
    case(
        "complex-output",
        "program",
        structure.complex_output,
        expect="refused",
        remark="no protocol carries complex numbers: give out torch.view_as_real of them",
        reason=r"tensor 'output' has elements of type complex64, which no protocol carries; give out real numbers",
    ),
    case("torch-cond", "program", structure.cond),
    case("traced-cnn", "trace", layers.cnn, inputs=IMAGE),
    case("traced-mobile", "trace", layers.mobile, inputs=(floats("x", -1, 8, 9, 9),)),
    case("traced-interpolate", "trace", layers.interpolate, inputs=(floats("x", -1, 3, 4, 6),)),
    case("traced-lstm-free-steps", "trace", sequences.lstm_tagger, inputs=(ids("ids", -1, -1),)),
    case("traced-transformer", "trace", sequences.encoder, inputs=(floats("src", -1, -1, 8),)),
    case("traced-stft", "trace", layers.spectrum, inputs=(floats("audio", -1, 160),)),
    case(
        "traced-embedding-bag",
        "trace",
        sequences.embedding_bag,
        inputs=(ids("ids", -1, 3), TensorSpec("places", "INT32", (-1,))),
    ),
    case("traced-without-gradients", "trace-no-grad", sequences.encoder, inputs=(floats("src", -1, -1, 8),)),
    case("traced-fixed-batch", "trace", structure.baked, inputs=(floats("x", 1, 6),)),
    case(
        "traced-recommender",
        "trace",
        architectures.recommender,
        inputs=(floats("dense", -1, 4), ids("categories", -1, 3)),
    ),
    case("scripted-mlp", "script", layers.mlp, inputs=(floats("input", -1, 8),)),
    case("scripted-resnet", "script", layers.resnet, inputs=(floats("x", -1, 4, 12, 12),)),
    case("scripted-loop-and-branch", "script", structure.loop, inputs=(floats("x", -1, -1, 3),)),
    case("scripted-while", "script", structure.converging, inputs=(floats("x", -1, 4),)),
    case(
        "scripted-lists-and-dicts",
        "script",
        structure.lists_and_dicts,
        inputs=tuple(floats(name, -1, 3) for name in ("batch_left", "batch_right", "many_0", "many_1")),
    ),
    case("scripted-optional-argument", "script", structure.optional, inputs=(floats("x", -1, 4),)),
    case("scripted-number", "script", structure.power, inputs=(floats("x", -1, 4), ids("times"))),
    case("scripted-gru", "script", sequences.gru, inputs=(floats("x", -1, -1, 3), floats("state", -1, 5))),
    case("scripted-tagger", "script", sequences.lstm_tagger, inputs=(ids("ids", -1, -1),)),
    case("scripted-unet", "script", architectures.unet, inputs=(floats("image", -1, 1, 8, 8),)),
    case(
        "scripted-transformer",
        "script",
        sequences.encoder,
        inputs=(floats("src", -1, -1, 8),),
        expect="native",
        remark="branches on shapes and on autocast that no exporter takes; trace it, or use torch.export, to have ONNX",
        reason="it has no operator for aten::is_autocast_enabled",
    ),
    case(
        "scripted-quantized",
        "script",
        structure.quantized,
        inputs=(floats("input", -1, 6),),
        expect="native",
        remark="PyTorch's own quantised layers; export the float model, and let `convert: {precision: int8}` quantise",
        reason="it has no operator for quantized::linear_dynamic",
    ),
    case(
        "script-without-shapes",
        "script",
        layers.mlp,
        expect="refused",
        remark="TorchScript says no shapes: declare `inputs:` in the config or `--input`, or give `examples:`",
        reason=r"carries no shapes of its inputs; forward takes input: Tensor: write `inputs: \[\{name: input, "
        r"datatype: FP32, shape: \[-1, \.\.\.\]\}\]` in the config, or `--input input:FP32:-1,\.\.\.`",
    ),
    case(
        "state-dict-cnn", "weights", layers.cnn, inputs=IMAGE, options={"module": "tests.sources.pytorch_factories:cnn"}
    ),
    case(
        "state-dict-tagger",
        "weights",
        sequences.lstm_tagger,
        inputs=(ids("ids", -1, 6),),
        options={"module": "tests.sources.pytorch_factories:lstm_tagger"},
    ),
    case(
        "state-dict-transformer",
        "weights",
        sequences.encoder,
        inputs=(floats("src", -1, -1, 8),),
        options={"module": "tests.sources.pytorch_factories:encoder"},
    ),
    case(
        "state-dict-alone",
        "weights",
        layers.cnn,
        expect="refused",
        remark="weights without their module: name its factory as `module: package.module:factory`",
        reason=r"holds weights without the module that they belong to: write `module: package\.module:factory`",
    ),
    case("pickled-module", "module", layers.mlp, inputs=(floats("input", -1, 8),), options={"trust": True}),
    case(
        "pickled-module-untrusted",
        "module",
        layers.mlp,
        inputs=(floats("input", -1, 8),),
        expect="refused",
        remark="loading it runs code: say `trust: true`, or export the model with torch.export.save",
        reason="is a pickle: loading it runs code",
    ),
    *PRETRAINED,
]
