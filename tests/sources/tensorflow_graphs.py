"""TensorFlow 1: SavedModels of `simple_save` and of the builder, and frozen graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.table import Built, Call, Tensors
from tests.sources.tensorflow_writing import answers, floats, generator, in_session, integers, words


def graph() -> tuple[Any, Any]:
    """`tf.compat.v1` and a new graph, to be entered."""
    import tensorflow as tf

    made = tf.Graph()
    return tf.compat.v1, made


def started(tf1: Any, made: Any) -> Any:
    session = tf1.Session(graph=made)
    session.run([tf1.global_variables_initializer(), tf1.tables_initializer()])
    return session


def variable(tf1: Any, name: str, *shape: int, resource: bool = True) -> Any:
    values = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32) * 0.5
    return tf1.get_variable(name, initializer=values, use_resource=resource)


def convolutions(tf1: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """An image net with a dropout whose rate is an optional placeholder; ref variables, as before resource ones."""
    import tensorflow as tf

    image = tf1.placeholder(tf.float32, [None, 8, 8, 3], name="image")
    keep = tf1.placeholder_with_default(1.0, [], name="keep")
    hidden = tf.nn.relu(tf.nn.conv2d(image, variable(tf1, "kernel", 3, 3, 3, 4, resource=False), 1, "SAME"))
    hidden = tf1.nn.dropout(tf1.nn.max_pool2d(hidden, 2, 2, "VALID"), rate=1 - keep)
    logits = tf1.matmul(tf.reshape(hidden, [-1, 64]), variable(tf1, "weights", 64, 5, resource=False))
    return {"image": image}, {"probabilities": tf.nn.softmax(logits, name="probabilities")}


def simple_save(folder: Path) -> Built:
    tf1, made = graph()
    with made.as_default():
        inputs, outputs = convolutions(tf1)
        session = started(tf1, made)
        tf1.saved_model.simple_save(session, str(folder / "model"), inputs, outputs)
        return in_session(session, folder / "model", floats("image", 8, 8, 3), inputs, outputs)


def builder(folder: Path) -> Built:
    """Two signatures, a vocabulary asset, tables that a main operator initialises, two tags."""
    import tensorflow as tf

    tf1, made = graph()
    (folder / "words.txt").write_text("red\ngreen\nblue\n", encoding="utf-8")
    with made.as_default():
        file = tf.constant(str(folder / "words.txt"))
        tf1.add_to_collection(tf1.GraphKeys.ASSET_FILEPATHS, file)
        lookup = tf.lookup.TextFileIndex
        initializer = tf.lookup.TextFileInitializer(file, tf.string, lookup.WHOLE_LINE, tf.int64, lookup.LINE_NUMBER)
        table = tf.lookup.StaticHashTable(initializer, 3)
        word = tf1.placeholder(tf.string, [None], name="word")
        x = tf1.placeholder(tf.float32, [None, 3], name="x")
        vector = tf.nn.embedding_lookup(variable(tf1, "rows", 4, 3), table.lookup(word))
        scores = tf.nn.softmax(x @ variable(tf1, "weights", 3, 2))
        session = started(tf1, made)
        signature = tf1.saved_model.signature_def_utils.predict_signature_def
        target = tf1.saved_model.builder.SavedModelBuilder(str(folder / "model"))
        target.add_meta_graph_and_variables(
            session,
            ["serve", "cpu"],
            signature_def_map={
                "embed": signature({"word": word}, {"vector": vector}),
                "serving_default": signature({"x": x}, {"scores": scores}),
            },
            assets_collection=[file],
            main_op=tf1.tables_initializer(),
        )
        target.save()
        embed = in_session(session, folder / "model", words("word", "red", "grey"), {"word": word}, {"vector": vector})
        calls = in_session(session, folder / "model", floats("x", 3), {"x": x}, {"scores": scores}).calls
    named = [type(call)(call.inputs, call.outputs, "embed") for call in embed.calls]
    return Built(folder / "model", (*calls, *named))


def recurrent(folder: Path) -> Built:
    """Control flow of TensorFlow 1 (Switch, Merge, Enter), as its recurrent layers have it: a while loop that reads its
    steps from a TensorArray."""
    import tensorflow as tf

    tf1, made = graph()
    with made.as_default():
        tf1.disable_control_flow_v2()
        try:
            x = tf1.placeholder(tf.float32, [None, 5, 3], name="x")
            steps = tf.TensorArray(tf.float32, size=5).unstack(tf.transpose(x, [1, 0, 2]))
            w, u = variable(tf1, "w", 3, 4), variable(tf1, "recurrent", 4, 4)
            zero = tf.zeros([tf.shape(x)[0], 4])

            def body(step: Any, state: Any) -> Any:
                return step + 1, tf.tanh(steps.read(step) @ w + state @ u)

            _, state = tf1.while_loop(lambda step, _: step < 5, body, (tf.constant(0), zero))
            outputs = {"state": tf.identity(state, name="state")}
            session = started(tf1, made)
            tf1.saved_model.simple_save(session, str(folder / "model"), {"x": x}, outputs)
            return in_session(session, folder / "model", floats("x", 5, 3), {"x": x}, outputs)
        finally:
            tf1.enable_control_flow_v2()


def parse_example(folder: Path) -> Built:
    """The signature of an estimator: serialised `tf.train.Example` in."""
    import tensorflow as tf

    def serialised(batch: int) -> Tensors:
        rows = generator(batch).standard_normal((batch, 3)).astype(np.float32)
        examples = np.empty(batch, dtype=object)
        for index, row in enumerate(rows):
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=row))
            features = tf.train.Features(feature={"x": feature})
            examples[index] = tf.train.Example(features=features).SerializeToString(deterministic=True)
        return {"examples": examples}

    tf1, made = graph()
    with made.as_default():
        examples = tf1.placeholder(tf.string, [None], name="examples")
        x = tf1.parse_example(examples, {"x": tf1.FixedLenFeature([3], tf.float32)})["x"]
        outputs = {"scores": tf.nn.softmax(x @ variable(tf1, "weights", 3, 2))}
        session = started(tf1, made)
        tf1.saved_model.simple_save(session, str(folder / "model"), {"examples": examples}, outputs)
        return in_session(session, folder / "model", serialised, {"examples": examples}, outputs)


def training_switch(tf1: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Depthwise convolutions and batch norms with a switch between training and serving, which is off by default."""
    import tensorflow as tf

    image = tf1.placeholder(tf.float32, [None, 10, 10, 4], name="image")
    training = tf1.placeholder_with_default(False, [], name="training")
    hidden = tf.nn.depthwise_conv2d(image, variable(tf1, "depthwise", 3, 3, 4, 2), [1, 2, 2, 1], "SAME")
    offset, mean = variable(tf1, "offset", 8), variable(tf1, "mean_", 8)
    scale, variance = tf.abs(variable(tf1, "scale__", 8)), tf.abs(variable(tf1, "variance", 8)) + 0.5

    def normalised(serving: bool) -> Any:
        known = {} if not serving else {"mean": mean, "variance": variance}
        return tf1.nn.fused_batch_norm(hidden, scale, offset, is_training=not serving, **known)[0]

    hidden = tf.cond(training, lambda: normalised(False), lambda: normalised(True))
    pooled = tf.reduce_mean(tf.nn.relu6(hidden), [1, 2])
    return {"image": image}, {"logits": tf1.matmul(pooled, variable(tf1, "weights", 8, 3), name="logits")}


def training_switch_saved(folder: Path) -> Built:
    tf1, made = graph()
    with made.as_default():
        inputs, outputs = training_switch(tf1)
        session = started(tf1, made)
        tf1.saved_model.simple_save(session, str(folder / "model"), inputs, outputs)
        return in_session(session, folder / "model", floats("image", 10, 10, 4), inputs, outputs)


def frozen_training_switch(folder: Path) -> Built:
    return freeze(folder, training_switch, floats("image", 10, 10, 4))


def freeze(folder: Path, build: Callable[[Any], tuple[dict[str, Any], dict[str, Any]]], draw: Any) -> Built:
    tf1, made = graph()
    with made.as_default():
        inputs, outputs = build(tf1)
        session = started(tf1, made)
        names = [tensor.op.name for tensor in outputs.values()]
        frozen = tf1.graph_util.convert_variables_to_constants(session, made.as_graph_def(), names)
        (folder / "graph.pb").write_bytes(frozen.SerializeToString())
        return in_session(session, folder / "graph.pb", draw, inputs, outputs)


def frozen_convolutions(folder: Path) -> Built:
    return freeze(folder, convolutions, floats("image", 8, 8, 3))


def frozen_parts(folder: Path) -> Built:
    """Two inputs, and outputs that are two parts of one operator."""
    import tensorflow as tf

    def build(tf1: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        ids = tf1.placeholder(tf.int32, [None, 4], name="ids")
        weight = tf1.placeholder(tf.float32, [None, 4], name="weight")
        rows = tf.gather(variable(tf1, "rows", 9, 6), ids)
        left, right = tf.split(tf.reduce_sum(rows * weight[:, :, tf.newaxis], 1), 2, axis=1, name="halves")
        return {"ids": ids, "weight": weight}, {"halves": left, "halves:1": right}

    def draw(batch: int) -> Tensors:
        return {**integers("ids", 9, 4)(batch), **floats("weight", 4)(batch)}

    return freeze(folder, build, draw)


def frozen_without_shapes(folder: Path) -> Built:
    """A placeholder of unknown rank: the config says its shape."""
    import tensorflow as tf

    def build(tf1: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        x = tf1.placeholder(tf.float32, None, name="x")
        hidden = tf.nn.relu(tf1.matmul(x, variable(tf1, "weights", 4, 6)))
        return {"x": x}, {"out": tf1.matmul(hidden, variable(tf1, "more", 6, 2), name="out")}

    return freeze(folder, build, floats("x", 4))


def frozen_function(folder: Path) -> Built:
    """TensorFlow 2's way to a frozen graph: a concrete function with its variables as constants."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    kernel = tf.Variable(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
    function = tf.function(lambda x: tf.nn.elu(x @ kernel), input_signature=[tf.TensorSpec([None, 4], name="x")])
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    (folder / "graph.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())
    calls = []
    for batch in (2, 5):
        inputs = floats("x", 4)(batch)
        calls.append(Call(inputs, answers({"Identity": function(inputs["x"])})))
    return Built(folder / "graph.pb", tuple(calls))


def not_frozen(folder: Path) -> Built:
    """A graph without its weights, as `tf.train.write_graph` leaves it."""
    tf1, made = graph()
    with made.as_default():
        convolutions(tf1)
    (folder / "graph.pb").write_bytes(made.as_graph_def().SerializeToString())
    return Built(folder / "graph.pb", ())
