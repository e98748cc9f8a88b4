"""Where published weights are, one file a source; `model_zoo.registry` looks them up."""
