"""Tests of the Trainer's normalization of losses and of its logs, with a model of one weight, by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.training.trainer import Trainer

# Five images: one with a single RoI of a large loss, one with many of a small loss, one with none.
MASK = np.array([[6, 1], [12, 128], [0, 0], [3, 3], [8, 4]], "float32")  # sum, count
CLASS = np.array([[10, 5], [5, 5], [5, 5], [20, 5], [40, 4]], "float32")
BY_BATCH = {"mask_loss": (6 + 12 + 0 + 3 + 8) / 136, "class_loss": 80 / 24}
BY_IMAGE = {"mask_loss": (6 + 12 / 128 + 0 + 1 + 2) / 5, "class_loss": (2 + 1 + 1 + 4 + 10) / 5}


def images(rows=slice(None), batch_size=2):
    return tf.data.Dataset.from_tensor_slices({"mask": MASK[rows], "class": CLASS[rows]}).batch(batch_size)


def make_trainer(*rule, learning_rate=0.0, accumulate=1, penalty=None):
    """Returns a trainer whose losses are those of `images` times its only weight, which is 1."""
    inputs = {name: keras.Input([2], name=name) for name in ("mask", "class")}
    regularizer = penalty and keras.regularizers.L2(penalty)
    scale = keras.layers.EinsumDense(
        "bi,i->bi", 2, kernel_initializer="ones", kernel_regularizer=regularizer, name="scale"
    )
    outputs = {}
    for name, pairs in inputs.items():
        scaled = scale(pairs)
        outputs[f"{name}_loss"] = keras.ops.concatenate([scaled[:, :1], pairs[:, 1:]], axis=-1)
    trainer = Trainer(
        keras.Model(inputs, outputs),
        accumulate=accumulate,
        **({"loss_normalization": rule[0]} if rule else {}),
    )
    trainer.compile(optimizer=keras.optimizers.SGD(learning_rate), jit_compile=False)
    return trainer


def total(losses):
    return pytest.approx({"loss": sum(losses.values()), **losses}, rel=1e-6)


@pytest.mark.parametrize(
    ("rule", "expected"), [((), BY_BATCH), (("batch",), BY_BATCH), (("image",), BY_IMAGE)]
)
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_evaluate_is_over_all_images_whatever_the_batches(rule, expected, batch_size):
    trainer = make_trainer(*rule)
    for _ in range(2):  # the second call starts from zero
        assert trainer.evaluate(images(batch_size=batch_size), verbose=0, return_dict=True) == total(expected)


@pytest.mark.parametrize(("rule", "expected"), [("batch", BY_BATCH), ("image", BY_IMAGE)])
def test_history_and_validation_are_over_the_whole_epoch(rule, expected):
    first = slice(0, 3)
    validation = {
        "batch": {"mask_loss": (6 + 12) / 129, "class_loss": (10 + 5 + 5) / 15},
        "image": {"mask_loss": (6 + 12 / 128 + 0) / 3, "class_loss": (2 + 1 + 1) / 3},
    }[rule]
    history = (
        make_trainer(rule)
        .fit(images(), validation_data=images(first), epochs=2, shuffle=False, verbose=0)
        .history
    )
    assert history.pop("learning_rate") == [0, 0]
    for epoch in range(2):
        found = {name: values[epoch] for name, values in history.items()}
        assert {name: value for name, value in found.items() if name[:4] != "val_"} == total(expected)
        assert {name[4:]: value for name, value in found.items() if name[:4] == "val_"} == total(validation)


@pytest.mark.parametrize("accumulate", [1, 2, 3, 5, 8])
@pytest.mark.parametrize(("rule", "expected"), [("batch", BY_BATCH), ("image", BY_IMAGE)])
def test_the_gradient_is_that_of_the_loss_in_the_logs(rule, expected, accumulate):
    trainer = make_trainer(rule, learning_rate=0.01, accumulate=accumulate)
    logs = trainer.train_on_batch(next(iter(images(batch_size=5))), return_dict=True)
    assert logs["loss"] == pytest.approx(sum(expected.values()), rel=1e-6)
    # The loss is proportional to the weight, which was 1.
    weight = np.asarray(trainer.network.get_layer("scale").kernel)[0]
    assert weight == pytest.approx(1 - 0.01 * logs["loss"], rel=1e-6)


def test_a_batch_in_which_nothing_counts_has_a_loss_of_zero_and_moves_nothing():
    trainer = make_trainer(learning_rate=1.0)
    batch = {name: np.zeros([2, 2], "float32") for name in ("mask", "class")}
    assert trainer.train_on_batch(batch, return_dict=True)["loss"] == 0
    np.testing.assert_array_equal(trainer.network.get_layer("scale").kernel, [1, 1])


def test_the_steps_of_an_optimizer_are_updates():
    trainer = make_trainer(accumulate=5)
    trainer.fit(images(batch_size=5).repeat(), steps_per_epoch=3, shuffle=False, verbose=0)
    assert trainer.optimizer.iterations == 3


def test_a_rule_that_there_is_not_is_an_error():
    with pytest.raises(ValueError, match="`loss_normalization` must be one of 'batch', 'image'. Received"):
        make_trainer("replica")


@pytest.mark.parametrize("accumulate", [1, 2, 5])
def test_the_regularizers_of_weights_are_a_loss(accumulate):
    plain, regular = make_trainer(accumulate=accumulate), make_trainer(accumulate=accumulate, penalty=0.5)
    batch = next(iter(images(batch_size=5)))
    for trainer in (plain, regular):
        trainer.optimizer.learning_rate = 0.01
    logs = regular.train_on_batch(batch, return_dict=True)
    without = plain.train_on_batch(batch, return_dict=True)
    assert logs["regularization_loss"] == pytest.approx(1.0)  # 0.5 for each of two weights, which are 1
    assert logs["loss"] == pytest.approx(without["loss"] + 1.0)
    moved = [np.asarray(trainer.network.get_layer("scale").kernel) for trainer in (plain, regular)]
    np.testing.assert_allclose(moved[0] - moved[1], 0.01 * 2 * 0.5, rtol=1e-4)
    assert regular.evaluate(images(), verbose=0, return_dict=True)["regularization_loss"] > 0.9


def test_a_regularizer_of_outputs_is_an_error_that_names_the_layer():
    inputs = keras.Input([2])
    layer = keras.layers.Dense(2, activity_regularizer="l2", name="odd")
    with pytest.raises(ValueError, match="`activity_regularizer` of odd"):
        Trainer(keras.Model(inputs, {"a_loss": layer(inputs)}))


def test_a_loss_that_a_layer_adds_is_an_error_before_the_first_step():
    class Adding(keras.layers.Layer):
        def call(self, inputs):
            self.add_loss(keras.ops.mean(inputs))
            return inputs

    inputs = keras.Input([2], name="mask")
    pairs = keras.layers.EinsumDense("bi,i->bi", 2, kernel_regularizer="l2")(inputs)
    trainer = Trainer(keras.Model({"mask": inputs}, {"mask_loss": Adding()(pairs)}))
    trainer.compile(optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    with pytest.raises(ValueError, match="Received: 1 losses of `add_loss`"):
        trainer.fit(images().map(lambda batch: {"mask": batch["mask"]}), shuffle=False, verbose=0)
