"""Comparison of exported models with the Keras model."""
