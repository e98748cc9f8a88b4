"""Tests of finding the first non-finite tensor of a step, and that the step changes no weights."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from training_toy import make_batches, make_trainer

from mask_rcnn.training.diagnosis import first_bad_tensor
from mask_rcnn.training.optimizer import CoupledSGD
from mask_rcnn.training.trainer import Trainer


@pytest.fixture
def batch():
    return next(iter(make_batches()))


def test_a_step_of_finite_numbers_has_no_bad_tensor(batch):
    assert first_bad_tensor(make_trainer(), batch) == ""


def test_the_batch_comes_first():
    assert first_bad_tensor(make_trainer(), next(iter(make_batches(spoil=1)))) == (
        "images of the batch (1 of 4608 values)"
    )


def test_a_weight_is_named_by_its_path(batch):
    trainer = make_trainer()
    trainer.network.get_layer("dense").bias.assign([1, np.inf, 2, np.nan, 3])
    assert first_bad_tensor(trainer, batch) == "the weight dense/bias (2 of 5 values)"


def trainer_of(network, loss_of):
    """Returns a `Trainer` whose model applies a network to `images` `[B, 2]`, and then `loss_of`."""
    inputs = {"images": keras.Input([2], name="images")}
    losses = loss_of(network(inputs["images"]))[:, 0]
    model = keras.Model(inputs, {"loss_one": ops.stack([losses, ops.ones_like(losses)], axis=1)})
    trainer = Trainer(model, networks={"network": network})
    trainer.compile(optimizer=CoupledSGD(0.1, weight_decay=0.1), jit_compile=False)
    return trainer


def small_network(*layers):
    inputs = outputs = keras.Input([2])
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs, name="small")


def test_a_layer_of_a_network_is_named_with_the_network():
    network = small_network(
        keras.layers.Dense(3, kernel_initializer="ones", name="before"),
        keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(3e38), name="overflow"),
    )
    trainer = trainer_of(network, lambda found: found)
    found = first_bad_tensor(trainer, {"images": tf.ones([4, 2])})
    assert found == "an output of small/overflow (4 of 4 values)"


@pytest.fixture
def bad_gradient():
    """A trainer with a finite loss and a non-finite gradient: the square root has none at zero."""
    network = small_network(keras.layers.Dense(1, name="only"))
    return trainer_of(network, lambda found: ops.sqrt(ops.square(found) * 0.0))


def test_a_gradient_is_named_by_its_variable(bad_gradient):
    found = first_bad_tensor(bad_gradient, {"images": tf.ones([4, 2])})
    assert found == "the gradient of only/kernel (2 of 2 values)"


@pytest.mark.parametrize("trainer", ["bad gradient", "bad batch"])
def test_the_weights_stay_those_before_the_step(trainer, bad_gradient):
    if trainer == "bad gradient":
        trainer, batches = bad_gradient, tf.data.Dataset.from_tensors({"images": tf.ones([4, 2])})
    else:
        trainer, batches = make_trainer(), functools.partial(make_batches, spoil=1)().take(1)
    before = [np.asarray(variable) for variable in trainer.trainable_variables]
    trainer.fit(batches, shuffle=False, verbose=0)
    for variable, value in zip(trainer.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
