"""Pure functions on tensors. They have no weights, read no config and create no layers."""
