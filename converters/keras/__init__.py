"""Keras 3 archives, and the `.h5` files of Keras 2 and before."""
