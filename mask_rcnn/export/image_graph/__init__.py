"""Image files and geometry as TensorFlow ops, for SavedModels."""
