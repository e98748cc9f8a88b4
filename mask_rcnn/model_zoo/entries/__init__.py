"""Lists of published weights, one module per source. `model_zoo.registry` looks them up."""
