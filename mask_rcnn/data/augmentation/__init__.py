"""Random changes of training images together with their objects."""
