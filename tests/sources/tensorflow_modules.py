"""TensorFlow 2 models, saved by `tf.saved_model.save` and by Keras's `model.export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.sources.table import Built, Tensors
from tests.sources.tensorflow_writing import as_loaded, floats, generator, integers, save, words


def spec(name: str, *shape: int | None, dtype: str = "float32") -> Any:
    import tensorflow as tf

    return tf.TensorSpec(shape, dtype, name=name)


def weights(*shape: int, seed: int = 0) -> Any:
    import tensorflow as tf

    return tf.Variable(np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * 0.5)


def module(*signature: Any, compiled: bool = False, **parts: Any) -> Any:
    """Makes a `tf.Module` of a function `(self, *tensors)`, with `parts` (variables, tables) as its attributes."""
    import tensorflow as tf

    def decorate(function: Any) -> Any:
        made = tf.Module()
        for name, value in parts.items():
            setattr(made, name, value)
        made.call = tf.function(
            lambda *tensors: function(made, *tensors), input_signature=list(signature), jit_compile=compiled or None
        )
        return made

    return decorate


def dense(folder: Path) -> Built:
    import tensorflow as tf

    @module(spec("x", None, 4), w=weights(4, 3), b=weights(3))
    def net(self: Any, x: Any) -> Any:
        return {"scores": tf.nn.softmax(x @ self.w + self.b)}

    return save(net, folder, floats("x", 4), net.call)


def compiled(folder: Path) -> Built:
    import tensorflow as tf

    @module(spec("x", None, 4), w=weights(4, 3), compiled=True)
    def net(self: Any, x: Any) -> Any:
        return {"y": tf.nn.gelu(x @ self.w) * tf.reduce_sum(x, 1, keepdims=True)}

    return save(net, folder, floats("x", 4), net.call)


def several_signatures(folder: Path) -> Built:
    import tensorflow as tf

    shared = weights(4, 3)

    @module(spec("x", None, 4), w=shared)
    def net(self: Any, x: Any) -> Any:
        return {"scores": tf.nn.softmax(x @ self.w)}

    net.embed = tf.function(lambda x: {"hidden": x @ shared}, input_signature=[spec("x", None, 4)])
    net.distance = tf.function(
        lambda left, right: {"distance": tf.norm(left - right, axis=1)},
        input_signature=[spec("left", None, 3), spec("right", None, 3)],
    )

    def pairs(batch: int) -> Tensors:
        draw = generator(batch)
        return {name: draw.standard_normal((batch, 3)).astype(np.float32) for name in ("left", "right")}

    signatures = {"serving_default": net.call, "embed": net.embed, "distance": net.distance}
    inputs = {"serving_default": floats("x", 4), "embed": floats("x", 4), "distance": pairs}
    return save(net, folder, inputs, signatures)


def no_default(folder: Path) -> Built:
    """Signatures of other names only: the first by name is the default."""
    import tensorflow as tf

    @module(spec("x", None, 4), w=weights(4, 3))
    def net(self: Any, x: Any) -> Any:
        return {"y": x @ self.w}

    net.largest = tf.function(lambda x: {"index": tf.argmax(x, 1)}, input_signature=[spec("x", None, 4)])
    inputs = {"classify": floats("x", 4), "predict": floats("x", 4)}
    return save(net, folder, inputs, {"predict": net.call, "classify": net.largest})


def any_size(folder: Path) -> Built:
    """Fully convolutional: height and width are free."""
    import tensorflow as tf

    @module(spec("image", None, None, None, 3), w=weights(3, 3, 3, 4), v=weights(4, 2))
    def net(self: Any, image: Any) -> Any:
        hidden = tf.nn.relu(tf.nn.conv2d(image, self.w, 2, "SAME"))
        return {"map": tf.nn.sigmoid(hidden @ self.v), "mean": tf.reduce_mean(hidden, [1, 2])}

    return save(net, folder, floats("image", 11, 14, 3), net.call)


def preprocessing(folder: Path) -> Built:
    """uint8 pixels are resized and scaled inside of the graph."""
    import tensorflow as tf

    @module(spec("image", None, 12, 10, 3, dtype="uint8"), w=weights(4, 4, 3, 5))
    def net(self: Any, image: Any) -> Any:
        resized = tf.image.resize(tf.cast(image, tf.float32), (8, 8)) / 127.5 - 1.0
        return {"logits": tf.reduce_max(tf.nn.conv2d(resized, self.w, 1, "VALID"), [1, 2])}

    return save(net, folder, integers("image", 256, 12, 10, 3, dtype=np.uint8), net.call)


def vocabulary(folder: Path) -> Built:
    """Words through a hash table into an embedding."""
    import tensorflow as tf

    keys, values = ["red", "green", "blue"], tf.constant([1, 2, 3], tf.int64)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0)

    @module(spec("word", None, 2, dtype="string"), table=table, rows=weights(4, 3))
    def net(self: Any, word: Any) -> Any:
        return {"vector": tf.reduce_sum(tf.gather(self.rows, self.table.lookup(word)), 1)}

    return save(net, folder, words("word", "red", "blue", "grey", shape=(2,)), net.call)


def vocabulary_file(folder: Path) -> Built:
    """The vocabulary is an asset; one bucket takes unknown words."""
    import tensorflow as tf

    file = folder / "words.txt"
    file.write_text("red\ngreen\nblau\u00e4\n", encoding="utf-8")
    lookup = tf.lookup.TextFileIndex
    initializer = tf.lookup.TextFileInitializer(str(file), tf.string, lookup.WHOLE_LINE, tf.int64, lookup.LINE_NUMBER)
    table = tf.lookup.StaticVocabularyTable(initializer, 1)

    @module(spec("word", None, dtype="string"), table=table, rows=weights(4, 3))
    def net(self: Any, word: Any) -> Any:
        index = self.table.lookup(word)
        return {"index": index, "vector": tf.gather(self.rows, index)}

    return save(net, folder, words("word", "red", "blau\u00e4", "grey"), net.call)


def class_names(folder: Path) -> Built:
    """The label is given out as text."""
    import tensorflow as tf

    keys, values = tf.constant([0, 1, 2], tf.int64), ["cat", "dog", "bird"]
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), "unknown")

    @module(spec("x", None, 4), table=table, w=weights(4, 3))
    def net(self: Any, x: Any) -> Any:
        scores = tf.nn.softmax(x @ self.w)
        return {"label": self.table.lookup(tf.argmax(scores, 1)), "probabilities": scores}

    return save(net, folder, floats("x", 4), net.call)


def buckets(folder: Path) -> Built:
    """Ages in ranges and ids in a table of ids, as preprocessing layers do it."""
    import tensorflow as tf

    keys, values = tf.constant([10, 20, 30], tf.int64), tf.constant([1, 2, 3], tf.int64)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0)

    @module(spec("age", None), spec("id", None, dtype="int64"), table=table, rows=weights(5, 2), more=weights(4, 2))
    def net(self: Any, age: Any, id: Any) -> Any:
        bucket = tf.raw_ops.Bucketize(input=age, boundaries=[0.0, 18.0, 30.0, 65.0])
        return {"features": tf.gather(self.rows, bucket) + tf.gather(self.more, self.table.lookup(id))}

    def people(batch: int) -> Tensors:
        draw = generator(batch)
        age = draw.choice(np.array([-3, 0, 17.9, 18, 40, 65, 80], np.float32), batch)
        return {"age": age, "id": draw.choice(np.array([10, 20, 30, 40]), batch)}

    return save(net, folder, people, net.call)


def loop(folder: Path) -> Built:
    """A while loop of a length that the caller says."""
    import tensorflow as tf

    @module(spec("x", None, 3), spec("steps", dtype="int32"), w=weights(3, 3))
    def net(self: Any, x: Any, steps: Any) -> Any:
        def body(step: Any, value: Any) -> Any:
            return step + 1, tf.tanh(value @ self.w) + x

        _, value = tf.while_loop(lambda step, _: step < steps, body, (0, x))
        return {"y": value}

    def steps(batch: int) -> Tensors:
        return {**floats("x", 3)(batch), "steps": np.array(batch, np.int32)}

    return save(net, folder, steps, net.call)


def condition(folder: Path) -> Built:
    import tensorflow as tf

    @module(spec("x", None, 3), spec("flag", dtype="bool"), w=weights(3, 3))
    def net(self: Any, x: Any, flag: Any) -> Any:
        return {"y": tf.cond(flag, lambda: x @ self.w, lambda: tf.nn.relu(x))}

    def flagged(batch: int) -> Tensors:
        return {**floats("x", 3)(batch), "flag": np.array(batch > 2)}

    return save(net, folder, flagged, net.call)


def mapped(folder: Path) -> Built:
    """`tf.map_fn` over the rows: a loop around a list of tensors."""
    import tensorflow as tf

    @module(spec("x", None, 4, 3), w=weights(3, 2))
    def net(self: Any, x: Any) -> Any:
        return {"y": tf.map_fn(lambda row: tf.nn.softmax(row @ self.w, axis=0), x)}

    return save(net, folder, floats("x", 4, 3), net.call)


def types(folder: Path) -> Built:
    """float64, int64, bool, and a value that is given out as it came."""
    import tensorflow as tf

    @module(
        spec("wide", None, 2, dtype="float64"), spec("count", None, dtype="int64"), spec("keep", None, dtype="bool")
    )
    def net(self: Any, wide: Any, count: Any, keep: Any) -> Any:
        picked = tf.where(keep[:, tf.newaxis], wide, -wide)
        return {"picked": picked, "rest": count % 3, "either": keep | (count > 2), "same": count}

    def mixed(batch: int) -> Tensors:
        draw = generator(batch)
        return {
            "wide": draw.standard_normal((batch, 2)),
            "count": draw.integers(-5, 5, batch),
            "keep": draw.random(batch) < 0.5,
        }

    return save(net, folder, mixed, net.call)


def fixed_batch(folder: Path) -> Built:
    import tensorflow as tf

    @module(spec("x", 4, 3), w=weights(3, 2))
    def net(self: Any, x: Any) -> Any:
        return {"y": tf.reshape(tf.nn.relu(x @ self.w), [4, 2])}

    return save(net, folder, floats("x", 3), net.call, batches=(4,))


def detection(folder: Path) -> Built:
    """Top-k, gather with batch dimensions, cumulative sums and scatter, as in the heads of detectors."""
    import tensorflow as tf

    @module(spec("scores", None, 9), spec("boxes", None, 9, 4))
    def net(self: Any, scores: Any, boxes: Any) -> Any:
        best, index = tf.math.top_k(scores, 3)
        return {
            "best": best,
            "where": tf.gather(boxes, index, batch_dims=1),
            "mass": tf.cumsum(tf.nn.softmax(scores), axis=1)[:, -2:],
            "one_hot": tf.reduce_sum(tf.one_hot(index, 9), 1),
        }

    def boxes(batch: int) -> Tensors:
        draw = generator(batch)
        return {
            "scores": draw.standard_normal((batch, 9)).astype(np.float32),
            "boxes": draw.random((batch, 9, 4)).astype(np.float32),
        }

    return save(net, folder, boxes, net.call)


def spectrogram(folder: Path) -> Built:
    """Log-mel features of sound."""
    import tensorflow as tf

    mel = tf.constant(np.random.default_rng(0).random((33, 8)).astype(np.float32))

    @module(spec("audio", None, 160))
    def net(self: Any, audio: Any) -> Any:
        spectrum = tf.abs(tf.signal.stft(audio, 64, 16, fft_length=64))
        return {"features": tf.math.log(spectrum @ mel + 1e-3)}

    return save(net, folder, floats("audio", 160), net.call)


def suppression(folder: Path) -> Built:
    """Boxes of one image after non-maximum suppression: as many as are left."""
    import tensorflow as tf

    @module(spec("boxes", None, 4), spec("scores", None))
    def net(_: Any, boxes: Any, scores: Any) -> Any:
        kept = tf.image.non_max_suppression(boxes, scores, 5, iou_threshold=0.4, score_threshold=0.1)
        return {"kept": kept, "best": tf.gather(boxes, kept)}

    def drawn(batch: int) -> Tensors:
        draw = generator(batch)
        corner = draw.random((batch * 4, 2)).astype(np.float32)
        return {
            "boxes": np.concatenate([corner, corner + 0.3], 1),
            "scores": draw.random(batch * 4).astype(np.float32),
        }

    return save(net, folder, drawn, net.call)


def image_operators(folder: Path) -> Built:
    """Grey values, central crop, nearest and half-pixel resizing, patches."""
    import tensorflow as tf

    @module(spec("image", None, 12, 12, 3))
    def net(_: Any, image: Any) -> Any:
        grey = tf.image.rgb_to_grayscale(image)
        return {
            "small": tf.image.resize(tf.image.central_crop(grey, 0.5), (4, 5)),
            "near": tf.image.resize(grey, (7, 9), method="nearest"),
            "blocks": tf.nn.space_to_depth(image, 3),
            "padded": tf.pad(image[:, ::2, 1:-1], [[0, 0], [1, 2], [0, 1], [0, 0]], mode="REFLECT"),
        }

    return save(net, folder, floats("image", 12, 12, 3), net.call)


def masked_attention(folder: Path) -> Built:
    """Written out with einsum, band masks and a learned scale."""
    import tensorflow as tf

    @module(spec("x", None, None, 6), q=weights(6, 2, 3), k=weights(6, 2, 3, seed=1), v=weights(6, 2, 3, seed=2))
    def net(self: Any, x: Any) -> Any:
        query, key, value = (tf.einsum("bsd,dhe->bhse", x, part) for part in (self.q, self.k, self.v))
        scores = tf.matmul(query, key, transpose_b=True) / tf.sqrt(3.0)
        size = tf.shape(scores)[-1]
        seen = tf.linalg.band_part(tf.ones([size, size]), -1, 0)
        probabilities = tf.nn.softmax(scores - 1e9 * (1.0 - seen))
        return {"y": tf.einsum("bhst,bhtd->bshd", probabilities, value), "weights": probabilities}

    return save(net, folder, floats("x", 5, 6), net.call)


def half_precision(folder: Path) -> Built:
    import tensorflow as tf

    @module(spec("x", None, 6, dtype="float16"), w=tf.Variable(tf.cast(weights(6, 3), "float16")))
    def net(self: Any, x: Any) -> Any:
        return {"y": tf.nn.softmax(x @ self.w)}

    return save(net, folder, lambda batch: {"x": floats("x", 6)(batch)["x"].astype(np.float16)}, net.call)


def unused_input(folder: Path) -> Built:
    """An input that nothing uses, one that is given out as it came, and a table that was filled by hand."""
    import tensorflow as tf

    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    table.insert(tf.constant(["a", "b"]), tf.constant([3, 4], tf.int64))

    @module(spec("word", None, dtype="string"), spec("extra", None, 2), table=table)
    def net(self: Any, word: Any, extra: Any) -> Any:
        return {"id": self.table.lookup(word), "same": word}

    def draw(batch: int) -> Tensors:
        return {**words("word", "a", "b", "c")(batch), **floats("extra", 2)(batch)}

    return save(net, folder, draw, net.call)


def scales(folder: Path) -> Built:
    """Features as one computes them by hand: logarithms, ranges, whole and signed rests."""
    import tensorflow as tf

    @module(spec("amount", None, 3), spec("day", None, dtype="int64"))
    def net(_: Any, amount: Any, day: Any) -> Any:
        week = tf.stack([day // 7, day % 7], 1)
        return {"scaled": tf.math.log1p(tf.abs(amount)) * tf.sign(amount), "week": week}

    def draw(batch: int) -> Tensors:
        return {**floats("amount", 3)(batch), "day": generator(batch).integers(-30, 30, batch)}

    return save(net, folder, draw, net.call)


def lowered_text(folder: Path) -> Built:
    import tensorflow as tf

    keys, values = ["red", "green"], tf.constant([1, 2], tf.int64)
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0)

    @module(spec("text", None, dtype="string"), table=table, rows=weights(3, 2))
    def net(self: Any, text: Any) -> Any:
        return {"vector": tf.gather(self.rows, self.table.lookup(tf.strings.lower(text)))}

    return save(net, folder, words("text", "Red", "GREEN", "\u00c4rger"), net.call)


def split_text(folder: Path) -> Built:
    """A bag of hashed words: splitting, hashing and counting in the graph."""
    import tensorflow as tf

    @module(spec("text", None, dtype="string"), rows=weights(16, 2))
    def net(self: Any, text: Any) -> Any:
        tokens = tf.strings.split(text).to_tensor("")
        return {"vector": tf.reduce_sum(tf.gather(self.rows, tf.strings.to_hash_bucket_fast(tokens, 16)), 1)}

    return save(net, folder, words("text", "a red fox", "the blue sea", "grey"), net.call)


def numbered_folder(folder: Path) -> Built:
    """As TensorFlow Serving wants it: the SavedModel in a folder of its version's number."""
    (folder / "store").mkdir()
    built = dense(folder / "store")
    (folder / "store" / "model").rename(folder / "store" / "7")
    return Built(folder / "store", built.calls)


def pitch_detector(folder: Path) -> Built:
    """The pretrained net of basic-pitch: 2 s of sound to notes, onsets and contours."""
    return as_loaded(pretrained() / "nmp", floats("input_2", 43844, 1), batches=(1, 2))


def pretrained() -> Path:
    """Where the package keeps its nets; it is not imported, as it asks for libraries of its own."""
    from importlib.util import find_spec

    found = find_spec("basic_pitch")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "saved_models" / "icassp_2022"


def python_function(folder: Path) -> Built:
    import tensorflow as tf

    @module(spec("x", None, 3))
    def net(self: Any, x: Any) -> Any:
        return {"y": tf.ensure_shape(tf.numpy_function(lambda value: value * 2, [x], tf.float32), [None, 3])}

    tf.saved_model.save(net, str(folder / "model"), signatures=net.call)
    return Built(folder / "model", ())


def reads_a_file(folder: Path) -> Built:
    import tensorflow as tf

    @module(spec("path", dtype="string"))
    def net(self: Any, path: Any) -> Any:
        return {"content": tf.io.read_file(path)}

    tf.saved_model.save(net, str(folder / "model"), signatures=net.call)
    return Built(folder / "model", ())


def ragged(folder: Path) -> Built:
    import tensorflow as tf

    made = tf.Module()
    made.call = tf.function(
        lambda rows: {"sums": tf.reduce_sum(rows, 1)},
        input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)],
    )
    tf.saved_model.save(made, str(folder / "model"), signatures=made.call)
    return Built(folder / "model", ())
