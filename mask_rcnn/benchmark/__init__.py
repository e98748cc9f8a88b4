"""Measures time and memory of inference and of a training step, optionally next to torchvision's model."""
