"""Rematerialization: activations are computed again in the backward pass instead of being kept.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, arXiv:1604.06174: a network of n layers
keeps about sqrt(n) of them, and computes the others again from the last kept one.
"""

import itertools
import math

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="mask_rcnn")
class Rematerialized(keras.layers.Layer):
    """Calls a network, and keeps nothing but its input and its outputs for the backward pass.

    Only the first call updates variables: in the backward pass batch normalizations take the statistics of
    the batch again, and leave the moving ones as they are. Dropouts drop the same values again.

    Args:
        network: `keras.Model` with one input, which does not read moving statistics in training.

    Call arguments:
        x: What `network` takes.

    Returns:
        What `network` returns.
    """

    def __init__(self, network, **kwargs):
        super().__init__(**{"autocast": False, **kwargs})  # the layers of the network cast for themselves
        self.network = network

    def call(self, x, training=None):
        if not training:
            return self.network(x, training=training)
        # The integers are the states of random generators, which the first call moves on.
        variables = [v for v in self.network.non_trainable_variables if tf.as_dtype(v.dtype).is_integer]
        states = [(variable, tf.identity(variable.value)) for variable in variables]
        is_first = True

        def run(x):
            nonlocal is_first
            if is_first:
                is_first = False
                return self.network(x, training=training)
            with keras.StatelessScope(states):  # it drops all updates
                return self.network(x, training=training)

        return keras.remat(run)(x)

    def compute_output_spec(self, x, training=None):
        return self.network.compute_output_spec(x, training=training)

    def get_config(self):
        return {**super().get_config(), "network": keras.saving.serialize_keras_object(self.network)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("network")), **config)


def rematerialized(network):
    """Returns a model that computes what a network does, with the same layers, and keeps fewer activations.

    The network is cut where it has a single tensor to go on from, such as between residual blocks. Layers
    before the first one that trains are left as they are: nothing of them is kept anyway.

    Args:
        network: Functional `keras.Model` with one input.
    """
    if any(map(_is_functional, network.operations)):
        return keras.models.clone_model(
            network, clone_function=lambda layer: rematerialized(layer) if _is_functional(layer) else layer
        )
    cuts, positions = _cuts(network)
    outputs = {id(tensor): tensor for tensor in network.outputs}
    results = dict(outputs)  # those before the first cut stay
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
    """Returns where a network is cut, and the position of each of its tensors.

    Returns:
        cuts: List of (position, tensor), the first before the first layer that trains, the last at the end of
            the network, whose tensor is None. It is empty if nothing trains.
        positions: Dict from the id of each tensor to the number of the operation that makes it; -1 for the
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
    # The tensors of a layer that is called more than once are not all known: such a network is not cut.
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
