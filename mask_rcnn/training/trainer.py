"""The model that `fit` trains: it divides the losses of all images by their counts."""

from dataclasses import dataclass

import keras
import tensorflow as tf
from keras import ops

from mask_rcnn.config import LOSS_NORMALIZATIONS
from mask_rcnn.config.checks import check_choice
from mask_rcnn.training.processes import run_context


class Trainer(keras.Model):
    """Minimizes the sum of the losses of a functional model from a training batch to its losses.

    The logs that callbacks, `history` and `evaluate` get are over all images since the start of the epoch or
    since `reset_metrics`:

    - `loss`: the sum of the losses below.
    - each output by its name: the sum of its sums divided by the sum of its counts.
    - `regularization_loss`: the sum of the weight regularizers, if a network has any.
    - `learning_rate`: the rate of the last step; only in training.
    - `loss_scale`: the factor of the loss after the last step; only in training with a `LossScaleOptimizer`.

    Sums and counts are over all replicas, so nothing depends on how many there are.

    Args:
        training_model: Functional `keras.Model`. Its input is a dict, a batch. Its output is a dict of
            tensors `[B, 2]`: the sum of each image, and the count to divide it by.
        networks: `{name: keras.Model}`, what `training_model` is made of and what is saved. Each becomes an
            attribute. Defaults to `training_model` as `network`.
        loss_normalization: "batch" divides the sum over all images by the count over all images, so that each
            RoI counts the same (as detectron2 and torchvision). "image" divides the sum of each image by its
            own count and takes the mean over the images. Defaults to "batch".
        accumulate: Number of micro batches, one after the other, into which each replica splits its images to
            save memory. The update is that of the whole batch, but for batch normalization, whose statistics
            are those of a micro batch. Defaults to 1.
    """

    def __init__(self, training_model, *, networks=None, loss_normalization="batch", accumulate=1, **kwargs):
        check_choice("loss_normalization", loss_normalization, LOSS_NORMALIZATIONS)
        super().__init__(**kwargs)
        for name, network in (networks or {"network": training_model}).items():
            setattr(self, name, network)
        self._graphs = _Graphs(training_model)
        self.loss_normalization = loss_normalization
        self.accumulate = accumulate
        self._regularized = [v for v in training_model.trainable_variables if v.regularizer is not None]
        names = ["regularization_loss"] if self._regularized else []
        self.loss_means = LossMeans([*training_model.output, *names])
        _refuse_activity_regularizers(training_model)
        self.built = True

    @property
    def training_model(self):
        """The functional model from a batch to its losses."""
        return self._graphs.training_model

    def build(self, input_shape=None):
        """Does nothing: the networks are built when they are made."""

    def call(self, batch, training=False):
        return self.training_model(batch, training=training)

    def train_step(self, data):
        """Makes one update from a batch; returns the logs."""
        batch, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        learning_rate = ops.convert_to_tensor(self.optimizer.learning_rate)  # before the update moves it
        if self.accumulate == 1:
            gradients, totals = self.gradients(batch)
        else:
            gradients, totals = self._accumulated_gradients(batch)
        self.optimizer.apply(gradients, self.trainable_variables)
        self.loss_means.update_state(totals)
        logs = {**self.get_metrics_result(), "learning_rate": learning_rate}
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            logs["loss_scale"] = ops.convert_to_tensor(self.optimizer.dynamic_scale)
        return self._logs(logs)

    def gradients(self, batch, counts=None):
        """Returns the gradients of the images of this replica, and their `loss_totals`.

        Args:
            batch: Dict of tensors `[B, ...]`.
            counts: `[L]`, what the sums of the losses are divided by. Defaults to the counts of the batch
                over all replicas.
        """
        with tf.GradientTape() as tape:
            totals = self.loss_totals(batch, training=True)
            if counts is None:
                counts = _over_replicas(totals)[:, 1]
            # Keras sums the gradients of the replicas.
            loss = tf.reduce_sum(tf.math.divide_no_nan(totals[:, 0], counts))
            loss = self.optimizer.scale_loss(loss)
        # TensorFlow makes zeros like its own variables, not like those of Keras.
        variables = [variable.value for variable in self.trainable_variables]
        return tape.gradient(loss, variables, unconnected_gradients="zero"), totals

    def _accumulated_gradients(self, batch):
        """Returns what `gradients` returns, with the memory of a micro batch.

        The gradients of several losses are added up, so that each loss must be divided before. Its count over
        all micro batches takes a forward pass of its own, up to the sampled RoIs.
        """

        def forward(micro_batch):
            # False: batch normalizations, if they train, update their statistics in the second pass only.
            return self.loss_totals(micro_batch, training=False)

        totals = tf.zeros([len(self.loss_means.names), 2])
        num_images = _num_images(batch)
        size = -(-num_images // self.accumulate)
        counts = _over_replicas(_sum_over_micro_batches(forward, batch, size, totals))[:, 1]
        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in self.trainable_variables]
        return _sum_over_micro_batches(
            lambda micro_batch: self.gradients(micro_batch, counts), batch, size, (zeros, totals)
        )

    def test_step(self, data):
        """Adds the losses of a batch to the means; returns the logs."""
        batch, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        self.loss_means.update_state(self.loss_totals(batch, training=False))
        return self._logs(self.get_metrics_result())

    def loss_totals(self, batch, training):
        """Returns `[L, 2]`: the sums and the counts of the L losses over the images of this replica.

        The last batch of a data set may leave a replica without an image. It computes an image of zeros then,
        which counts for nothing.

        Args:
            batch: Dict of tensors `[B, ...]`.
            training: Whether layers behave as in training.
        """
        num_images = _num_images(batch)
        outputs = self.training_model(_never_empty(batch, num_images), training=training)
        _refuse_added_losses(self.training_model, len(self._regularized))
        pairs = tf.stack(list(outputs.values()), axis=1)[:num_images]  # [B, L, 2]
        if self.loss_normalization == "image":
            means = tf.math.divide_no_nan(pairs[..., 0], pairs[..., 1])
            pairs = tf.stack([means, tf.ones_like(means)], axis=-1)
        totals = tf.reduce_sum(pairs, axis=0)
        if not self._regularized:
            return totals
        penalty = tf.add_n([tf.cast(v.regularizer(v), tf.float32) for v in self._regularized])
        count = tf.cast(num_images, tf.float32)  # the shares of replicas and micro batches add up to one
        return tf.concat([totals, [tf.stack([penalty * count, count])]], axis=0)

    def _logs(self, logs):
        # Keras 3.15 takes the mean of the logs of several processes along their first axis.
        if run_context(self.distribute_strategy).num_processes == 1:
            return logs
        return {name: tf.reshape(value, [1]) for name, value in logs.items()}

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # The networks are built already. To learn their shapes, Keras 3.15 would draw a batch here and
        # average it over the replicas, which fails for whatever cannot be averaged.
        with self.distribute_strategy.scope():
            self.optimizer.build(self.trainable_variables)


def _refuse_activity_regularizers(model):
    names = [layer.path for layer in _layers(model) if getattr(layer, "activity_regularizer", None)]
    if names:
        raise ValueError(
            "Training knows regularizers of weights, none of outputs. "
            f"Received: `activity_regularizer` of {', '.join(names)}. Remove it from the layer."
        )


def _refuse_added_losses(model, num_regularized):
    if len(model.losses) > num_regularized:
        raise ValueError(
            "Training knows the losses of the heads and regularizers of weights. "
            f"Received: {len(model.losses) - num_regularized} losses of `add_loss` in a layer. "
            "Give a registered head this loss instead."
        )


def _layers(model):
    """Yields the layers of a model, and those of the models among them."""
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from _layers(getattr(layer, "network", layer))  # `CountedRois` and `Rematerialized` hold one


@dataclass(frozen=True)
class _Graphs:
    """Holds a functional model that is no layer of its owner: Keras would list its networks twice."""

    training_model: keras.Model


class LossMeans(keras.metrics.Metric):
    """Sums of losses over sums of counts, of all batches since the last reset and of all replicas.

    Args:
        names: of the L losses.
    """

    def __init__(self, names):
        super().__init__(name="loss_means")
        self.names = names
        # Every replica holds the totals of all of them, so reading one or their mean is the same.
        self.totals = self.add_variable((len(names), 2), "zeros", aggregation="mean", name="totals")

    def update_state(self, totals):
        """Adds `totals` `[L, 2]`, the sums and the counts of this replica."""
        self.totals.assign(self.totals + _over_replicas(totals))

    def result(self):
        """Returns `{name: loss}`, with their sum as `loss`."""
        sums, counts = tf.unstack(tf.convert_to_tensor(self.totals), axis=-1)
        losses = tf.math.divide_no_nan(sums, counts)  # [L]
        return {"loss": tf.reduce_sum(losses), **dict(zip(self.names, tf.unstack(losses), strict=True))}


def _over_replicas(values):
    """Returns the sum of a tensor over all replicas, without a gradient."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(values))


def _sum_over_micro_batches(function, batch, size, zeros):
    """Returns the sum of `function(micro batch)` over the micro batches, one after the other.

    Args:
        function: Function from a dict of tensors `[size, ...]` to a structure of tensors.
        batch: Dict of tensors `[B, ...]`; the last micro batch may be smaller.
        size: Number of images in a micro batch, int32 tensor.
        zeros: What to begin with, of the structure that `function` returns.
    """
    num_images = _num_images(batch)

    def body(start, sums):
        values = function({name: value[start : start + size] for name, value in batch.items()})
        return start + size, tf.nest.map_structure(tf.add, sums, values)

    # A loop of TensorFlow runs ten iterations at once, unless it is told not to.
    return tf.while_loop(lambda start, _: start < num_images, body, (0, zeros), parallel_iterations=1)[1]


def _num_images(batch):
    return tf.shape(next(iter(batch.values())))[0]


def _never_empty(batch, num_images):
    """Returns a batch with one image of zeros if it has no image."""
    missing = tf.cast(num_images == 0, tf.int32)
    return {
        name: tf.ensure_shape(
            tf.pad(value, [[0, missing]] + [[0, 0]] * (value.shape.rank - 1)), [None, *value.shape[1:]]
        )
        for name, value in batch.items()
    }
