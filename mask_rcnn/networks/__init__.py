"""Everything with trained weights, as functional Keras models."""
