"""Serialised `tf.train.Example` records that fit a graph's parser, for the parity gate's random inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from converters.tensorflow.signatures import node_name

COUNT = 8
WORDS = (b"alpha", b"beta", b"gamma")


def serialised_examples(nodes: Mapping[str, Any], parser: Any) -> np.ndarray:
    """Records with a value for every feature that `parser` (a `ParseExample` or `ParseExampleV2`) reads.

    Dense features get as many values as their shape has, sparse ones two.
    """
    import tensorflow

    features = list(_features(nodes, parser))
    records = np.empty(COUNT, dtype=object)
    for index in range(COUNT):
        generator = np.random.default_rng(index)
        values = {name: _values(generator, kind, size) for name, kind, size in features}
        example = tensorflow.train.Example(features=tensorflow.train.Features(feature=values))
        records[index] = example.SerializeToString(deterministic=True)
    return records


def _features(nodes: Mapping[str, Any], parser: Any) -> Iterator[tuple[str, int, int]]:
    """Name, `DataType` and number of values of each feature.

    ParseExampleV2 has the keys as one tensor a kind; ParseExample as one input a key. Both have names second.
    """
    sparse_types, dense_types = parser.attr["sparse_types"].list.type, parser.attr["Tdense"].list.type
    sizes = [int(np.prod([max(dim.size, 1) for dim in shape.dim])) for shape in parser.attr["dense_shapes"].list.shape]
    if parser.op == "ParseExampleV2":
        sparse, dense = (_keys(nodes, [parser.input[place]]) for place in (2, 3))
    else:
        split = 2 + len(sparse_types)
        sparse = _keys(nodes, parser.input[2:split])
        dense = _keys(nodes, parser.input[split : split + len(dense_types)])
    yield from zip(sparse, sparse_types, [2] * len(sparse), strict=False)
    yield from zip(dense, dense_types, sizes, strict=False)


def _keys(nodes: Mapping[str, Any], tensors: Sequence[str]) -> list[str]:
    from tensorflow import make_ndarray

    constants = [nodes[node_name(tensor)] for tensor in tensors if node_name(tensor) in nodes]
    arrays = [make_ndarray(node.attr["value"].tensor) for node in constants if node.op == "Const"]
    return [key.decode() for array in arrays for key in np.ravel(array)]


def _values(generator: np.random.Generator, kind: int, size: int) -> Any:
    import tensorflow

    train = tensorflow.train
    if kind == tensorflow.string.as_datatype_enum:
        return train.Feature(bytes_list=train.BytesList(value=[WORDS[i] for i in generator.integers(0, 3, size)]))
    if kind == tensorflow.int64.as_datatype_enum:
        return train.Feature(int64_list=train.Int64List(value=generator.integers(0, 4, size)))
    return train.Feature(float_list=train.FloatList(value=generator.standard_normal(size)))
