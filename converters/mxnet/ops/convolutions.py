"""Convolution, its transpose, and the fully connected layer.

Weights lie as ONNX wants them: (out, in / groups, kernel..), and for Deconvolution (in, out / groups, kernel..). In a
layout with the channels last the weight has them last too (`ConvertLayout` in src/operator/nn/convolution.cc); MXNet
computes these on GPUs alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from converters.mxnet.ops.axes import bounded, expect_shape
from converters.mxnet.ops.kernels import single
from converters.mxnet.ops.windows import (
    Window,
    channels_last,
    checked,
    padded_shape,
    to_channels_first,
    to_channels_last,
    window_of,
)
from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Size, Value


@mxnet_op("Convolution")
def convolution(node: OpNode, data: Value, weight: Value, bias: Value | None = None) -> Value:
    """data (N, C, spatial..) with weight (num_filter, C / num_group, kernel..) -> (N, num_filter, spatial..).

    One to three spatial axes, as many as `kernel` has. stride 1, dilate 1, pad 0 (at both ends), num_group 1.
    """
    return _convolved(node, "Conv", data, weight, bias, window_of(node, data.rank))


@mxnet_op("Deconvolution")
def deconvolution(node: OpNode, data: Value, weight: Value, bias: Value | None = None) -> Value:
    """data (N, C, spatial..) with weight (C, num_filter / num_group, kernel..) -> (N, num_filter, spatial..).

    Sizes are (in - 1) * stride + extent - 2 pad + adj. stride 1, dilate 1, pad 0, num_group 1.
    `adj` (0) adds elements at the end and must be below stride. `target_shape`, if any of it is not 0, replaces pad
    and adj: the margin is cut on both sides, and an odd element at the start. That is ONNX's `output_shape` exactly,
    which needs no known size of the data.
    """
    window = window_of(node, data.rank)
    adj = checked(node, "adj", node.attrs.integers("adj", (0,) * window.rank), window.rank, least=0)
    if any(extra >= stride for extra, stride in zip(adj, window.stride, strict=True)):
        raise node.refuse(f"attribute 'adj': expected less than stride {window.stride}, got {adj}")
    target = node.attrs.integers("target_shape", (0,) * window.rank)
    if not any(target):
        return _convolved(node, "ConvTranspose", data, weight, bias, window, output_padding=adj)
    target = checked(node, "target_shape", target, window.rank, least=1)
    spatial = data.shape[1:-1] if channels_last(node, data.rank) else data.shape[2:]
    for size, wanted, stride, extent in zip(spatial, target, window.stride, window.extent, strict=True):
        if isinstance(size, int) and (size - 1) * stride + extent < wanted:
            raise node.refuse(f"attribute 'target_shape': {target} is more than data {data} gives")
    unpadded = Window(window.kernel, window.stride, window.dilate, (0,) * window.rank)
    return _convolved(node, "ConvTranspose", data, weight, bias, unpadded, output_shape=target)


def _convolved(
    node: OpNode,
    op: str,
    data: Value,
    weight: Value,
    bias: Value | None,
    window: Window,
    **attributes: Sequence[int],
) -> Value:
    last = channels_last(node, data.rank)
    if last:
        data, weight = to_channels_first(data), to_channels_first(weight)
    groups = _groups(node, op, data, weight, window)
    if bias is not None:
        expect_shape(node, "bias", bias, (node.attrs.integer("num_filter"),))
    bounded(node, padded_shape(data, window))
    steps = {"kernel_shape": window.kernel, "strides": window.stride, "dilations": window.dilate}
    padding = {} if "output_shape" in attributes else {"pads": window.pad * 2}
    made = single(op, data, weight, bias, group=groups, **steps, **padding, **attributes)
    bounded(node, made.shape)
    return to_channels_last(made) if last else made


def _groups(node: OpNode, op: str, data: Value, weight: Value, window: Window) -> int:
    """`num_group`, if the weight (channels first) has the shape that the attributes and the data ask for."""
    filters, groups = node.attrs.integer("num_filter"), node.attrs.integer("num_group", 1)
    channels = data.shape[1]
    if not 1 <= groups <= filters or filters % groups or (isinstance(channels, int) and channels % groups):
        raise node.refuse(f"attribute 'num_group': {groups} does not divide {filters} filters and data {data}")
    if op == "ConvTranspose":
        expected: tuple[Size, ...] = (channels, filters // groups, *window.kernel)
    else:
        expected = (filters, channels // groups if isinstance(channels, int) else channels, *window.kernel)
    expect_shape(node, "weight", weight, expected)
    return int(groups)


@mxnet_op("FullyConnected")
def fully_connected(node: OpNode, data: Value, weight: Value, bias: Value | None = None) -> Value:
    """`data @ weight[num_hidden, in].T + bias`.

    `flatten` (default True, also when data is 3-D or more) makes data (N, rest) first; False keeps its leading axes.
    A vector counts as N rows of one element when it is flattened.
    """
    g = node.g
    if not data.is_float:
        raise node.refuse(f"expected floats, got {data}")
    hidden = node.attrs.integer("num_hidden")
    if node.attrs.boolean("flatten", True):
        data = g.reshape(data, (data.shape[0], g.product(data.shape[1:])))
    expect_shape(node, "weight", weight, (hidden, data.shape[-1]))
    if bias is not None:
        expect_shape(node, "bias", bias, (hidden,))
    if data.rank == 2:
        return g.emit("Gemm", data, weight, bias, transB=1)
    product = g.emit("MatMul", data, weight.transpose(1, 0))
    return product if bias is None else product + bias
