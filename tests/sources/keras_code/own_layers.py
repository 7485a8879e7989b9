"""Classes of a user's own, as a folder of code beside the config has them."""

import keras
import tensorflow


class Scale(keras.layers.Layer):
    """Not registered: the file names it by this module's name."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer="ones", name="gamma")

    def call(self, x):
        return x * self.factor


@tensorflow.function(jit_compile=True)
def squashed(x):
    return tensorflow.tanh(x) * 2


@keras.saving.register_keras_serializable(package="mine")
class Squash(keras.layers.Layer):
    """Registered under a package, and compiled by XLA."""

    def call(self, x):
        return squashed(x)


@keras.saving.register_keras_serializable(package="mine")
def bent(x):
    return keras.ops.where(x > 0, x, x / 3)


class Towers(keras.Model):
    """A subclassed model that gives a dict."""

    def __init__(self, units=4, **rest):
        super().__init__(**rest)
        self.units = units
        self.left = keras.layers.Dense(units, activation="relu")
        self.right = keras.layers.Dense(units)
        self.dropout = keras.layers.Dropout(0.5)

    def call(self, x, training=False):
        hidden = self.dropout(self.left(x), training=training)
        if training:
            hidden = hidden * 0
        return {"product": hidden * self.right(x), "sum": keras.ops.sum(hidden, axis=-1)}

    def get_config(self):
        return {**super().get_config(), "units": self.units}
