"""Operators that only matter in training: heads with a label, losses, and copies of what they are given."""

from __future__ import annotations

from converters.mxnet.registry import OpNode, mxnet_op
from converters.mxnet.values import Value


@mxnet_op("BlockGrad", "MakeLoss", "_copy", "_copyto", "_CrossDeviceCopy", "cast_storage")
def copied(node: OpNode, data: Value) -> Value:
    """The data itself: gradients, losses, devices and sparse storage have no meaning here."""
    return data


@mxnet_op("LinearRegressionOutput", "MAERegressionOutput", "SVMOutput", ignored=1)
def regression_output(node: OpNode, data: Value) -> Value:
    """The data itself; the label only counts in training."""
    return data


@mxnet_op("IdentityAttachKLSparseReg", ignored=1)
def identity_attach_kl_sparse_reg(node: OpNode, data: Value) -> Value:
    """The data itself; the running mean, an auxiliary state, only counts in training."""
    return data


@mxnet_op("LogisticRegressionOutput", ignored=1)
def logistic_regression_output(node: OpNode, data: Value) -> Value:
    """The sigmoid of the data."""
    return node.g.emit("Sigmoid", data)


@mxnet_op("Dropout")
def dropout(node: OpNode, data: Value) -> Value:
    """The data itself, unless `mode` is always: then MXNet drops elements at random at inference too."""
    if node.attrs.text("mode", "training") == "always" and node.attrs.number("p", 0.5) > 0:
        raise node.refuse("attribute 'mode': 'always' makes every answer random; export the model with mode='training'")
    return data
