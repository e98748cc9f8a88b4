"""Pure functions on tensors: no weights, no config, no layer."""
