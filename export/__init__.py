"""Models for other runtimes: SavedModel, TFLite, serving."""
