"""PyTorch's fused transformer operators, written out, for exporters that lack them.

`nn.TransformerEncoder` and `nn.MultiheadAttention` call them in evaluation mode without gradients, so they are in
every trace that was made under `torch.no_grad()`.
"""

from __future__ import annotations

import math
from typing import Any

_PADDING_MASK = 1
"""`mask_type` of a mask [N, L]; 0 is a mask [L, L], and 2 one of both, [N, heads, L, L]."""


def decompositions() -> dict[Any, Any]:
    """Fused operator -> the same of plain ones, for `ExportedProgram.run_decompositions`."""
    import torch

    return {
        torch.ops.aten._transformer_encoder_layer_fwd.default: transformer_encoder_layer,
        torch.ops.aten._native_multi_head_attention.default: multi_head_attention,
    }


def without_fused(exported: Any) -> Any:
    """The exported program without fused operators: itself when it has none."""
    fused = decompositions()
    if not any(node.target in fused for node in exported.graph.nodes):
        return exported
    return exported.run_decompositions(fused)


def transformer_encoder_layer(
    src: Any,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Any,
    qkv_bias: Any,
    proj_weight: Any,
    proj_bias: Any,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Any,
    norm_bias_1: Any,
    norm_weight_2: Any,
    norm_bias_2: Any,
    ffn_weight_1: Any,
    ffn_bias_1: Any,
    ffn_weight_2: Any,
    ffn_bias_2: Any,
    mask: Any = None,
    mask_type: int | None = None,
) -> Any:
    """aten::_transformer_encoder_layer_fwd: float[N, L, E] -> float[N, L, E].

    Attention and a feed-forward net, each with its residual; the norms come first or last.
    """
    from torch.nn import functional

    def norm_1(x: Any) -> Any:
        return functional.layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)

    def norm_2(x: Any) -> Any:
        return functional.layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)

    def attend(x: Any) -> Any:
        projections = (qkv_weight, qkv_bias, proj_weight, proj_bias)
        return _attend(x, x, x, embed_dim, num_heads, *projections, mask, mask_type)[0]

    def feed_forward(x: Any) -> Any:
        hidden = functional.linear(x, ffn_weight_1, ffn_bias_1)
        hidden = functional.gelu(hidden) if use_gelu else functional.relu(hidden)
        return functional.linear(hidden, ffn_weight_2, ffn_bias_2)

    if norm_first:
        src = src + attend(norm_1(src))
        return src + feed_forward(norm_2(src))
    src = norm_1(src + attend(src))
    return norm_2(src + feed_forward(src))


def multi_head_attention(
    query: Any,
    key: Any,
    value: Any,
    embed_dim: int,
    num_head: int,
    qkv_weight: Any,
    qkv_bias: Any,
    proj_weight: Any,
    proj_bias: Any,
    mask: Any = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Any, Any]:
    """aten::_native_multi_head_attention: float[N, L, E] three times -> float[N, L, E], and weights float[N, L, L],
    float[N, heads, L, L] where they are not averaged, or float[0] where nobody asked."""
    projections = (qkv_weight, qkv_bias, proj_weight, proj_bias)
    answer, weights = _attend(query, key, value, embed_dim, num_head, *projections, mask, mask_type)
    if not need_weights:
        return answer, answer.new_zeros((0,))
    return answer, weights.mean(1) if average_attn_weights else weights


def _attend(
    query: Any,
    key: Any,
    value: Any,
    embed_dim: int,
    heads: int,
    qkv_weight: Any,
    qkv_bias: Any,
    proj_weight: Any,
    proj_bias: Any,
    mask: Any,
    mask_type: int | None,
) -> tuple[Any, Any]:
    """softmax(Q K^T / sqrt(E / heads)) V by head; true in a mask means: do not look there."""
    from torch.nn import functional

    def project(x: Any, place: int) -> Any:
        part = slice(place * embed_dim, (place + 1) * embed_dim)
        projected = functional.linear(x, qkv_weight[part], qkv_bias[part])
        return projected.unflatten(-1, (heads, embed_dim // heads)).transpose(1, 2)

    scores = project(query, 0) @ project(key, 1).transpose(-2, -1) / math.sqrt(embed_dim // heads)
    if mask is not None:
        if mask_type == _PADDING_MASK and mask.dim() == 2:
            mask = mask[:, None, None, :]
        scores = scores.masked_fill(mask, -math.inf) if str(mask.dtype) == "torch.bool" else scores + mask
    weights = scores.softmax(-1)
    joined = (weights @ project(value, 2)).transpose(1, 2).flatten(2)
    return functional.linear(joined, proj_weight, proj_bias), weights
