"""Runs inside another Python, beside MXNet: reads questions as lines of JSON, answers them. Imports nothing of onegate.

Kept to what old Pythons understand. The first question names the model's files, every further one a file of inputs.
"""

import builtins
import json
import os
import sys

import numpy

for _name in ("bool", "int", "float", "object", "str", "complex"):
    # MXNet 1.9 uses aliases that numpy took away in 1.24.
    if not hasattr(numpy, _name):
        setattr(numpy, _name, getattr(builtins, _name))


def load(mx, question):
    """The symbol, and its parameters without prefixes."""
    symbol = mx.sym.load(question["symbol"])
    try:
        loaded = mx.nd.load(question["params"])
    except mx.base.MXNetError:
        # A file is read under the shapes, numpy's or the older ones, with which it was written.
        with mx.util.np_shape(True):
            loaded = mx.nd.load(question["params"])
    named = loaded.items() if isinstance(loaded, dict) else ()
    return symbol, {name.split(":", 1)[-1] if name[:4] in ("arg:", "aux:") else name: a for name, a in named}


def call(mx, symbol, parameters, question):
    """Runs the symbol; labels and begin states that nobody gives are zeros."""
    with numpy.load(question["inputs"]) as arrays:
        given = {name: arrays["arr_" + str(place)] for place, name in enumerate(question["names"])}
    numpy_front_end = any(node["op"].startswith("_np") for node in json.loads(symbol.tojson())["nodes"])
    with mx.util.np_shape(numpy_front_end):
        known = {name: array.shape for name, array in list(given.items()) + list(parameters.items())}
        listed = symbol.list_arguments() + symbol.list_auxiliary_states()
        kinds = {name: array.dtype for name, array in list(given.items()) + list(parameters.items()) if name in listed}
        shapes = {name: shape for name, shape in known.items() if name in listed}
        executor = symbol.simple_bind(mx.cpu(), grad_req="null", type_dict=kinds, **shapes)
        for target in (executor.arg_dict, executor.aux_dict):
            for name, array in target.items():
                array[:] = given.get(name, parameters.get(name, 0))
        return [output.asnumpy() for output in executor.forward(is_train=False)]


def main():
    """Answers until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what MXNet prints is no reply
    symbol = parameters = mx = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if mx is None:
                try:
                    import mxnet as mx
                except ImportError as error:
                    reply = {"missing": str(error)}
                else:
                    symbol, parameters = load(mx, question)
                    reply = {"version": mx.__version__}
            else:
                numpy.savez(question["outputs"], *call(mx, symbol, parameters, question))
                reply = {}
        except Exception as error:  # MXNet's errors are of many kinds; all are told
            reply = {"error": (str(error).strip().splitlines() or [type(error).__name__])[-1]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
