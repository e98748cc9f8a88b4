"""Finds where the first NaN or infinity comes from when the losses of a step are not finite."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mask_rcnn.training.batches import Batch
from mask_rcnn.training.trainer import Trainer


def first_bad_tensor(trainer: Trainer, batch: Batch) -> str:
    """Returns a text that names the first tensor of a step with NaN or infinity, or "" if there is none.

    It checks, in this order: the batch, the weights, the output of each layer of each network, and the
    gradients. The weights must be those before the update of the step.

    Args:
        trainer: `Trainer`.
        batch: Dict of tensors.
    """
    model = trainer.training_model
    bad = [f"{name} of the batch" + _counts(value) for name, value in batch.items() if _is_bad(value)]
    bad = bad or [f"the weight {v.path}" + _counts(v) for v in trainer.variables if _is_bad(v)]
    bad = bad or _bad_outputs(model, {name: batch[name] for name in model.input})
    bad = bad or _bad_gradients(trainer, batch)
    return bad[0] if bad else ""


def _bad_outputs(model: keras.Model, inputs: Any, prefix: str = "") -> list[str]:
    """Returns a list with a text about the first layer output with NaN or infinity, or an empty list.

    It also searches nested models.

    Args:
        model: Functional `keras.Model`.
        inputs: Its inputs.
        prefix: Names of the models that contain it, such as "backbone/".
    """
    calls = []

    def record(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        network = getattr(layer, "network", layer)  # `ValidRois` and `Rematerialized` wrap a network
        inner = args[0] if isinstance(network, keras.Model) else ()
        calls.append((network, (inner, outputs)))
        return outputs

    clone = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=record)
    values = keras.Model(clone.input, [tensors for _, tensors in calls])(inputs, training=True)
    for (layer, _), (inner, outputs) in zip(calls, values, strict=True):
        bad = [value for value in tf.nest.flatten(outputs) if _is_bad(value)]
        if bad:
            nested = (
                _bad_outputs(layer, inner, f"{prefix}{layer.name}/") if isinstance(layer, keras.Model) else []
            )
            return nested or [f"an output of {prefix}{layer.name}" + _counts(bad[0])]
    return []


def _bad_gradients(trainer: Trainer, batch: Batch) -> list[str]:
    gradients, _ = trainer.gradients(batch)
    pairs = zip(trainer.trainable_variables, gradients, strict=True)
    return [f"the gradient of {v.path}" + _counts(gradient) for v, gradient in pairs if _is_bad(gradient)]


def _is_bad(value: Any) -> bool:
    value = np.asarray(value)
    return value.dtype.kind == "f" and not np.isfinite(value).all()


def _counts(value: Any) -> str:
    value = np.asarray(value)
    return f" ({np.size(value) - np.isfinite(value).sum()} of {np.size(value)} values)"
