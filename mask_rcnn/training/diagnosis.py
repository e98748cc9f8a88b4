"""Finds where the first NaN or infinity comes from when the losses of a step are not finite."""

import keras
import numpy as np
import tensorflow as tf


def first_bad_tensor(trainer, batch):
    """Returns a text that names the first tensor of a step with NaN or infinity, or "" if there is none.

    It checks, in this order: the batch, the weights, the output of each layer of each network, and the
    gradients. The weights must be those before the update of the step.

    Args:
        trainer: `Trainer`.
        batch: Dict of tensors.
    """
    model = trainer.training_model
    wrong = [f"{name} of the batch" + _counts(value) for name, value in batch.items() if _is_bad(value)]
    wrong = wrong or [f"the weight {v.path}" + _counts(v) for v in trainer.variables if _is_bad(v)]
    wrong = wrong or _bad_outputs(model, {name: batch[name] for name in model.input})
    wrong = wrong or _bad_gradients(trainer, batch)
    return wrong[0] if wrong else ""


def _bad_outputs(model, inputs, prefix=""):
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

    same = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=record)
    values = keras.Model(same.input, [tensors for _, tensors in calls])(inputs, training=True)
    for (layer, _), (inner, outputs) in zip(calls, values, strict=True):
        bad = [value for value in tf.nest.flatten(outputs) if _is_bad(value)]
        if bad:
            within = (
                _bad_outputs(layer, inner, f"{prefix}{layer.name}/") if isinstance(layer, keras.Model) else []
            )
            return within or [f"an output of {prefix}{layer.name}" + _counts(bad[0])]
    return []


def _bad_gradients(trainer, batch):
    gradients, _ = trainer.gradients(batch)
    pairs = zip(trainer.trainable_variables, gradients, strict=True)
    return [f"the gradient of {v.path}" + _counts(gradient) for v, gradient in pairs if _is_bad(gradient)]


def _is_bad(value):
    value = np.asarray(value)
    return value.dtype.kind == "f" and not np.isfinite(value).all()


def _counts(value):
    value = np.asarray(value)
    return f" ({np.size(value) - np.isfinite(value).sum()} of {np.size(value)} values)"
