"""Rematerialization: activations are computed again in the backward pass instead of kept in memory.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, arXiv:1604.06174: a network of n layers
keeps about sqrt(n) activations. The others are computed again from the last kept one.
"""

import itertools
import math
from typing import Any

import keras
import tensorflow as tf

from mask_rcnn.ops.tensor import Tensor


@keras.saving.register_keras_serializable(package="mask_rcnn")
class Rematerialized(keras.layers.Layer):
    """Calls a network and keeps only its input and its outputs for the backward pass.

    Only the first call updates variables. In the backward pass, batch normalizations compute the batch
    statistics again but leave the moving statistics unchanged. Dropouts drop the same values again.

    Args:
        network: `keras.Model` with one input. It must not use moving statistics in training.

    Call arguments:
        x: The input of `network`.

    Returns:
        The outputs of `network`.
    """

    def __init__(self, network: keras.Model, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})  # the layers of the network cast their own inputs
        self.network = network

    def call(self, x: Tensor, training: bool | None = None) -> Any:
        if not training:
            return self.network(x, training=training)
        # Integer variables are states of random generators. The first call advances them.
        variables = [v for v in self.network.non_trainable_variables if tf.as_dtype(v.dtype).is_integer]
        states = [(variable, tf.identity(variable.value)) for variable in variables]
        is_first = True

        def run(x):
            nonlocal is_first
            if is_first:
                is_first = False
                return self.network(x, training=training)
            with keras.StatelessScope(states):  # discards all variable updates
                return self.network(x, training=training)

        return keras.remat(run)(x)

    def compute_output_spec(self, x: Tensor, training: bool | None = None) -> Any:
        return self.network.compute_output_spec(x, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Rematerialized":
        return cls(keras.saving.deserialize_keras_object(config.pop("network")), **config)


def rematerialized(network: keras.Model) -> keras.Model:
    """Returns a model with the same layers and results as `network` that keeps fewer activations.

    The network is split at positions where a single tensor is passed on, such as between residual blocks.
    Layers before the first trainable one stay unchanged, because their activations are not kept anyway.

    Args:
        network: Functional `keras.Model` with one input.

    Returns:
        Functional `keras.Model` with the inputs, outputs and name of `network`.
    """
    if any(map(_is_functional, network.operations)):
        return keras.models.clone_model(
            network, clone_function=lambda layer: rematerialized(layer) if _is_functional(layer) else layer
        )
    cuts, positions = _cuts(network)
    outputs = {id(tensor): tensor for tensor in network.outputs}
    results = dict(outputs)  # outputs before the first cut stay as they are
    x = cuts[0][1] if cuts else None
    for number, ((start, source), (end, target)) in enumerate(itertools.pairwise(cuts)):
        ends = {key: tensor for key, tensor in outputs.items() if start < positions.get(key, end) <= end}
        ends |= {} if target is None else {id(target): target}
        part = Rematerialized(keras.Model(source, list(ends.values()), name=f"part{number}"))
        results |= zip(ends, keras.tree.flatten(part(x)), strict=True)
        x = results.get(id(target))
    return keras.Model(network.inputs[0], [results[key] for key in outputs], name=network.name)


def _is_functional(operation):
    return isinstance(operation, keras.Model) and hasattr(operation, "operations")


def _cuts(network):
    """Returns the positions at which to split a network, and the position of each of its tensors.

    Returns:
        cuts: List of (position, tensor). The first is before the first trainable layer. The last is at the
            end of the network, and its tensor is None. The list is empty if no layer is trainable.
        positions: Dict from the id of each tensor to the index of the operation that computes it; -1 for the
            input.
    """
    operations = [each for each in network.operations if not isinstance(each, keras.layers.InputLayer)]
    last_use, positions = {}, {id(network.inputs[0]): -1}
    for number, operation in enumerate(operations):
        last_use |= dict.fromkeys(map(id, keras.tree.flatten(operation.input)), number)
        positions |= dict.fromkeys(map(id, keras.tree.flatten(operation.output)), number)
    first = next((n for n, each in enumerate(operations) if getattr(each, "trainable_variables", ())), None)
    if first is None:
        return [], positions
    possible = [(-1, network.inputs[0])]
    # A layer that is called more than once hides some of its tensors. Such a network is not split.
    is_known = {*last_use, *map(id, network.outputs)} <= positions.keys()
    for number, operation in enumerate(operations if is_known else ()):
        live = {key for key, made in positions.items() if made <= number < last_use.get(key, -1)}
        outputs = keras.tree.flatten(operation.output)
        possible += [(number, tensor) for tensor in outputs if live == {id(tensor)}]
    cuts = [next(cut for cut in reversed(possible) if cut[0] < first)]
    size = math.isqrt(len(operations) - first)
    for number, tensor in possible:
        if number >= max(first, cuts[-1][0] + size):
            cuts.append((number, tensor))
    return [*cuts, (len(operations) - 1, None)], positions
