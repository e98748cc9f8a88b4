"""All networks with trained weights, as functional Keras models."""
