"""Keras layers. They hold arguments and weights, and call the functions of `ops`, `targets` and `losses`."""
