"""Seconds and memory of inference and of a training step, alone or beside torchvision's model."""
