"""Tests of torch's SGD rule, with numbers by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mask_rcnn.config import TrainConfig
from mask_rcnn.training.optimizer import AdamW, CoupledSGD, LossScale, averaged_weights, build_optimizer
from mask_rcnn.training.schedule import WarmupCosine, WarmupSteps


def steps(optimizer, gradients, start=1.0, name="kernel"):
    variable = keras.Variable(np.float32(start), name=name)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
    return float(variable)


def test_decay_without_gradient_goes_through_the_momentum():
    # 1 -> 0.99 -> 0.99 - 0.1 (0.09 + 0.099) = 0.9711 -> 0.9711 - 0.1 (0.1701 + 0.09711) = 0.944379
    optimizer = CoupledSGD(0.1, momentum=0.9, weight_decay=0.1)
    assert steps(optimizer, [0.0, 0.0, 0.0]) == pytest.approx(0.944379, abs=1e-6)


def test_momentum_does_not_keep_the_rate_of_an_earlier_step():
    # Momentum 1, then 1.9: 1 - 1 * 1 - 0.1 * 1.9. Keras's own SGD would still move by 0.9 of the old step.
    schedule = WarmupSteps(1.0, milestones=(1,))
    assert steps(CoupledSGD(schedule, momentum=0.9), [1.0, 1.0]) == pytest.approx(-0.19, abs=1e-6)


def test_no_momentum_is_plain_descent():
    assert steps(CoupledSGD(0.5, momentum=0.0, weight_decay=0.2), [1.0]) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("name", "expected"), [("kernel", 0.9), ("bias", 0.9), ("gamma", 0.98), ("beta", 0.98)]
)
def test_norm_variables_have_their_own_decay(name, expected):
    optimizer = CoupledSGD(1.0, momentum=0.0, weight_decay=0.1, norm_weight_decay=0.02)
    assert steps(optimizer, [0.0], name=name) == pytest.approx(expected)


def test_clipping_is_by_the_norm_of_all_gradients_and_before_the_decay():
    first, second = keras.Variable([3.0], name="kernel"), keras.Variable([0.0], name="kernel")
    optimizer = CoupledSGD(1.0, momentum=0.0, weight_decay=0.1, clip_norm=1.0)
    optimizer.apply([tf.constant([3.0]), tf.constant([4.0])], [first, second])  # norm 5
    np.testing.assert_allclose(first, [3.0 - 0.6 - 0.3], rtol=1e-6)
    np.testing.assert_allclose(second, [-0.8], rtol=1e-6)


def test_a_small_gradient_is_not_clipped():
    assert steps(CoupledSGD(1.0, momentum=0.0, clip_norm=1.0), [0.5]) == pytest.approx(0.5)


@pytest.mark.parametrize("kind", [CoupledSGD, AdamW])
def test_optimizer_survives_its_config(kind):
    optimizer = kind(0.1, weight_decay=0.1, norm_weight_decay=0.01, clip_norm=2.0)
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(restored, kind) and restored.get_config() == optimizer.get_config()
    assert steps(restored, [1.0, 2.0]) == steps(optimizer, [1.0, 2.0])


def test_warm_up_is_linear_and_a_milestone_divides_by_ten():
    schedule = WarmupSteps(0.02, milestones=(100, 150), warmup_steps=10, warmup_factor=0.1)
    rates = [float(schedule(step)) for step in (0, 5, 10, 99, 100, 149, 150)]
    np.testing.assert_allclose(rates, [0.002, 0.011, 0.02, 0.02, 0.002, 0.002, 0.0002], rtol=1e-5)


def test_cosine_goes_down_to_nothing_after_the_same_warm_up():
    schedule = WarmupCosine(0.02, steps=100, warmup_steps=10, warmup_factor=0.1)
    rates = [float(schedule(step)) for step in (0, 10, 50, 75, 100, 200)]
    expected = [0.002, 0.02 * 0.975528, 0.01, 0.02 * 0.146447, 0.0, 0.0]
    np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=1e-9)


def test_a_recipe_chooses_the_cosine_over_its_scaled_steps():
    recipe = TrainConfig(batch_size=2, steps=1000, schedule="cosine")
    schedule = build_optimizer(recipe).get_config()["learning_rate"]
    assert schedule["class_name"] == "WarmupCosine" and schedule["config"]["steps"] == 8000


def test_no_warm_up_starts_with_the_whole_rate():
    assert float(WarmupSteps(0.02)(0)) == pytest.approx(0.02)


@pytest.mark.parametrize(
    "schedule",
    [
        WarmupSteps(0.02, (3, 5), warmup_steps=2, warmup_factor=0.1),
        WarmupCosine(0.02, 6, warmup_steps=2, warmup_factor=0.1),
    ],
    ids=["steps", "cosine"],
)
def test_schedule_survives_its_config(schedule):
    restored = type(schedule).from_config(schedule.get_config())
    assert [float(restored(step)) for step in range(7)] == [float(schedule(step)) for step in range(7)]


def test_recipe_is_scaled_with_the_batch():
    recipe = TrainConfig(batch_size=2, learning_rate=0.02, milestones=(120_000,), warmup_steps=500)
    schedule = build_optimizer(recipe).get_config()["learning_rate"]["config"]
    assert schedule["learning_rate"] == pytest.approx(0.0025)
    assert schedule["milestones"] == (960_000,)
    assert schedule["warmup_steps"] == 500


def test_float16_scales_the_loss_and_clips_the_unscaled_gradient():
    recipe = TrainConfig(
        precision="mixed_float16", clip_norm=1.0, warmup_steps=0, learning_rate=1.0, weight_decay=0.0
    )
    optimizer = build_optimizer(recipe)
    assert isinstance(optimizer, LossScale)
    variable = keras.Variable([0.0], name="kernel")
    optimizer.build([variable])
    scaled = optimizer.scale_loss(tf.constant([0.5]))  # its gradient, as the tape returns it
    optimizer.apply([scaled], [variable])
    np.testing.assert_allclose(variable, [-0.5], rtol=1e-6)


def test_float16_overflow_skips_the_step_and_halves_the_scale():
    optimizer = LossScale(CoupledSGD(1.0), initial_scale=8.0)
    variable = keras.Variable([1.0], name="kernel")
    optimizer.apply([tf.constant([np.inf])], [variable])
    assert float(variable[0]) == 1.0
    assert float(optimizer.dynamic_scale) == 4.0


def test_nothing_is_computed_before_the_gradient_which_would_fill_the_memory():
    optimizer = CoupledSGD(0.1, momentum=0.9, weight_decay=0.1)
    variable = keras.Variable(np.ones([8], "float32"), name="kernel")
    optimizer.build([variable])
    apply = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    graph = apply.get_concrete_function(tf.TensorSpec([8])).graph
    after = {graph.inputs[0].op.name}
    large = []
    for op in graph.get_operations():  # in topological order
        if after & {each.name for each in [*(x.op for x in op.inputs), *op.control_inputs]}:
            after.add(op.name)
        large += [op.name for x in op.outputs if x.dtype == tf.float32 and x.shape == [8]]
    assert len(large) > 4
    assert set(large) <= after


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_the_moving_average_follows_its_rule_and_is_used_in_the_block_only(precision):
    recipe = TrainConfig(
        precision=precision, ema_decay=0.6, warmup_steps=0, milestones=(), weight_decay=0.0, learning_rate=0.1
    )
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer=build_optimizer(recipe))
    (variable,) = model.trainable_variables
    average = None
    for step in range(30):
        gradient = model.optimizer.scale_loss(tf.constant([[0.5 - step % 3]]))
        model.optimizer.apply([gradient], [variable])
        kept = min(0.6, step / (step + 9))
        average = (
            np.asarray(variable) if average is None else kept * average + (1 - kept) * np.asarray(variable)
        )
    last = np.asarray(variable)
    with pytest.raises(ZeroDivisionError), averaged_weights(model):
        np.testing.assert_allclose(variable, average, rtol=1e-5)
        assert np.abs(last - average).max() > 1e-3
        raise ZeroDivisionError
    np.testing.assert_array_equal(variable, last)


def test_an_optimizer_without_averages_changes_nothing():
    model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
    model.compile(optimizer="sgd")
    before = [np.asarray(variable) for variable in model.variables]
    with averaged_weights(model):
        for variable, value in zip(model.variables, before, strict=True):
            np.testing.assert_array_equal(variable, value)


def test_adamw_follows_the_rule_of_keras():
    schedule = WarmupCosine(0.1, 6, warmup_steps=2, warmup_factor=0.5)
    gradients = [1.0, -3.0, 0.5, 0.0, 2.0, 7.0]
    expected = steps(keras.optimizers.AdamW(schedule, weight_decay=0.05), gradients)
    assert steps(AdamW(schedule, weight_decay=0.05), gradients) == pytest.approx(expected, rel=1e-6)


def test_the_first_step_of_adamw_is_the_learning_rate_and_the_decay():
    # 1 - 0.1 * 0.2 - 0.1 * sign(5)
    assert steps(AdamW(0.1, weight_decay=0.2), [5.0]) == pytest.approx(0.88, abs=1e-6)


@pytest.mark.parametrize(("name", "expected"), [("kernel", 0.9), ("gamma", 0.98)])
def test_adamw_has_another_decay_for_norm_variables(name, expected):
    optimizer = AdamW(1.0, weight_decay=0.1, norm_weight_decay=0.02)
    assert steps(optimizer, [0.0], name=name) == pytest.approx(expected)


def test_adamw_clips_by_the_norm_of_all_gradients():
    found = []
    for clip_norm, gradients in ((None, (0.6, 0.8)), (1.0, (3.0, 4.0))):
        variables = [keras.Variable([1.0], name="kernel") for _ in gradients]
        optimizer = AdamW(0.1, clip_norm=clip_norm)
        optimizer.apply([tf.constant([each]) for each in gradients], variables)
        found.append([float(each[0]) for each in optimizer.variables if "velocity" in each.path])
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_a_gradient_that_is_not_finite_does_not_move_a_variable_of_adamw():
    optimizer = AdamW(0.1, weight_decay=0.1)
    good, bad = (keras.Variable([1.0], name="kernel") for _ in range(2))
    optimizer.apply([tf.constant([1.0]), tf.constant([np.nan])], [good, bad])
    assert float(good[0]) < 1 and float(bad[0]) == 1
    assert all(np.isfinite(each).all() for each in optimizer.variables)


def test_adamw_averages_the_weights():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].kernel.assign([[1.0]])
    recipe = TrainConfig(
        optimizer="adamw", learning_rate=0.1, warmup_steps=0, weight_decay=0.0, ema_decay=0.5
    )
    model.compile(optimizer=build_optimizer(recipe))
    kernel, weights = model.layers[0].kernel, []
    rate = recipe.scaled_learning_rate
    for _ in range(2):
        model.optimizer.apply([tf.constant([[1.0]])], [kernel])
        weights.append(float(kernel[0][0]))
    assert weights == pytest.approx([1 - rate, 1 - 2 * rate], rel=1e-5)
    with averaged_weights(model):
        # The old value has the weight 0 in the first step, and 1 / 10 in the second.
        assert float(kernel[0][0]) == pytest.approx(0.1 * weights[0] + 0.9 * weights[1], rel=1e-5)
