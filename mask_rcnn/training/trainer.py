"""The Keras model that `fit` trains: it divides summed losses by their counts over the whole batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from mask_rcnn.config import LOSS_NORMALIZATIONS
from mask_rcnn.config.checks import check_choice
from mask_rcnn.training.batches import Batch
from mask_rcnn.training.processes import run_context


class Trainer(keras.Model):
    """Minimizes the sum of the losses that a functional model computes for a training batch.

    The logs for callbacks, `history` and `evaluate` cover all images since the start of the epoch or since
    `reset_metrics`:

    - `loss`: Sum of the losses below.
    - one key per output of `training_model`: Sum of the loss over all images divided by the sum of its
      counts.
    - `regularization_loss`: Sum of the weight regularizers, if a network has any.
    - `learning_rate`: Learning rate of the last step. Only in training.
    - `loss_scale`: Factor of the loss after the last step. Only in training with a `LossScaleOptimizer`.

    Sums and counts are over all replicas, so the number of replicas does not change the result.

    Args:
        training_model: Functional `keras.Model`. Its input is a batch, a dict. Its output is a dict of
            tensors `[B, 2]`: the summed loss of each image, and the count to divide it by.
        networks: `{name: keras.Model}`, the parts of `training_model` that are saved. Each becomes an
            attribute. Defaults to `{"network": training_model}`.
        loss_normalization: "batch" divides the sum over all images by the count over all images, so that each
            RoI has the same weight (as detectron2 and torchvision). "image" divides the sum of each image by
            its own count and then averages over the images. Defaults to "batch".
        accumulate: Number of micro batches into which each replica splits its images to save memory. They are
            computed one after the other. The update equals that of the whole batch, except for batch
            normalization, which uses the statistics of a micro batch. Defaults to 1.
    """

    def __init__(
        self,
        training_model: keras.Model,
        *,
        networks: Mapping[str, keras.Model] | None = None,
        loss_normalization: str = "batch",
        accumulate: int = 1,
        **kwargs: Any,
    ) -> None:
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
    def training_model(self) -> keras.Model:
        """Functional model from a batch to its losses."""
        return self._graphs.training_model

    def build(self, input_shape: Any = None) -> None:
        """Does nothing, because the networks are already built."""

    def call(self, batch: Batch, training: bool = False) -> Batch:
        return self.training_model(batch, training=training)

    def prepare_batch(self, batch: Batch, training: bool) -> Batch:
        """Returns the batch for `training_model`, here unchanged. Subclasses may complete it.

        Args:
            batch: Dict of tensors `[B, ...]`.
            training: Whether it is a batch of `fit`, not of `evaluate`.
        """
        return batch

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Updates the weights with one batch; returns the logs."""
        batch, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        batch = self.prepare_batch(batch, training=True)
        learning_rate = ops.convert_to_tensor(self.optimizer.learning_rate)  # before the step counter grows
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

    def gradients(self, batch: Batch, counts: tf.Tensor | None = None) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Returns the gradients of the images of this replica, and their `loss_totals`.

        Args:
            batch: Dict of tensors `[B, ...]`.
            counts: `[L]`, the divisors of the summed losses. Defaults to the counts of the batch over all
                replicas.
        """
        with tf.GradientTape() as tape:
            totals = self.loss_totals(batch, training=True)
            if counts is None:
                counts = _sum_over_replicas(totals)[:, 1]
            # Keras sums the gradients of the replicas.
            loss = tf.reduce_sum(tf.math.divide_no_nan(totals[:, 0], counts))
            loss = self.optimizer.scale_loss(loss)
        # `UnconnectedGradients.ZERO` needs TensorFlow variables instead of Keras variables.
        variables = [variable.value for variable in self.trainable_variables]
        gradients: Any = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return gradients, totals

    def _accumulated_gradients(self, batch: Batch) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Returns the result of `gradients` with the memory of a single micro batch.

        The gradients of the micro batches are added, so each loss must be divided by its count over all micro
        batches before. This count needs an additional forward pass over all micro batches.
        """

        def forward(micro_batch: Batch) -> tf.Tensor:
            # False, so that batch normalization updates its statistics only in the second pass.
            return self.loss_totals(micro_batch, training=False)

        totals = tf.zeros([len(self.loss_means.names), 2])
        num_images = _num_images(batch)
        size = -(-num_images // self.accumulate)
        totals_of_all = _sum_over_micro_batches(forward, batch, size=size, initial_sums=totals)
        counts = _sum_over_replicas(totals_of_all)[:, 1]
        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in self.trainable_variables]
        return _sum_over_micro_batches(
            lambda micro_batch: self.gradients(micro_batch, counts),
            batch,
            size=size,
            initial_sums=(zeros, totals),
        )

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Adds the losses of a batch to the running means; returns the logs."""
        batch, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        batch = self.prepare_batch(batch, training=False)
        self.loss_means.update_state(self.loss_totals(batch, training=False))
        return self._logs(self.get_metrics_result())

    def loss_totals(self, batch: Batch, training: bool) -> tf.Tensor:
        """Returns `[L, 2]`: sums and counts of the L losses over the images of this replica.

        The last batch of a data set may give a replica no image. The replica then computes an image of zeros,
        which is not counted.

        Args:
            batch: Dict of tensors `[B, ...]`.
            training: Whether layers run in training mode.
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
        # Weighted by the number of images, so that replicas and micro batches together count it once.
        count = tf.cast(num_images, tf.float32)
        return tf.concat([totals, [tf.stack([penalty * count, count])]], axis=0)

    def _logs(self, logs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        # With several processes, Keras 3.15 averages each log over its first axis, so logs need an axis.
        if run_context(self.distribute_strategy).num_processes == 1:
            return logs
        return {name: tf.reshape(value, [1]) for name, value in logs.items()}

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # The networks are already built. Keras 3.15 would take a batch here to find their shapes and average
        # it over the replicas, which fails for tensors that cannot be averaged.
        with self.distribute_strategy.scope():
            self.optimizer.build(self.trainable_variables)


def _refuse_activity_regularizers(model: keras.Model) -> None:
    names = [str(layer.path) for layer in _layers(model) if getattr(layer, "activity_regularizer", None)]
    if names:
        raise ValueError(
            "Training supports weight regularizers, but no activity regularizers. "
            f"Received: `activity_regularizer` of {', '.join(names)}. Remove it from the layer."
        )


def _refuse_added_losses(model: keras.Model, num_regularized: int) -> None:
    if len(model.losses) > num_regularized:
        raise ValueError(
            "Training supports the losses of the heads and weight regularizers, but not `add_loss`. "
            f"Received: {len(model.losses) - num_regularized} losses of `add_loss` in a layer. "
            "Add the loss to a registered head instead."
        )


def _layers(model: Any) -> Iterator[keras.Layer]:
    """Yields the layers of a model and, recursively, the layers of nested models."""
    for layer in getattr(model, "layers", ()):
        yield layer
        yield from _layers(getattr(layer, "network", layer))  # `ValidRois` and `Rematerialized` wrap one


@dataclass(frozen=True)
class _Graphs:
    """Wraps a functional model so that Keras does not track it as a layer.

    Keras would otherwise list its networks twice.
    """

    training_model: keras.Model


class LossMeans(keras.metrics.Metric):
    """Keras metric: summed losses divided by summed counts, over all batches since the last reset.

    The sums are over all replicas.

    Args:
        names: Names of the L losses.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(name="loss_means")
        self.names = names
        # Every replica holds the totals over all replicas, so their mean equals each of them.
        self.totals = self.add_variable((len(names), 2), "zeros", aggregation="mean", name="totals")

    def update_state(self, totals: tf.Tensor) -> None:
        """Adds `totals` `[L, 2]`, the sums and counts of this replica."""
        self.totals.assign(self.totals + _sum_over_replicas(totals))

    def result(self) -> dict[str, tf.Tensor]:
        """Returns `{name: loss}` with the sum of all losses as `loss`."""
        sums, counts = tf.unstack(tf.convert_to_tensor(self.totals), axis=-1)
        losses = tf.math.divide_no_nan(sums, counts)  # [L]
        return {"loss": tf.reduce_sum(losses), **dict(zip(self.names, tf.unstack(losses), strict=True))}


def _sum_over_replicas(values: tf.Tensor) -> tf.Tensor:
    """Returns the sum of a tensor over all replicas, without a gradient."""
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(values))


def _sum_over_micro_batches(
    function: Callable[[Batch], Any], batch: Batch, *, size: tf.Tensor, initial_sums: Any
) -> Any:
    """Returns the sum of `function(micro_batch)` over all micro batches, computed one after the other.

    Args:
        function: Function from a dict of tensors `[size, ...]` to a structure of tensors.
        batch: Dict of tensors `[B, ...]`. The last micro batch may be smaller.
        size: Number of images per micro batch, int32 tensor.
        initial_sums: Zeros, with the structure of the result of `function`.
    """
    num_images = _num_images(batch)

    def body(start, sums):
        values = function({name: value[start : start + size] for name, value in batch.items()})
        return start + size, tf.nest.map_structure(tf.add, sums, values)

    # By default, `tf.while_loop` runs up to ten iterations in parallel, which would need their memory.
    _, sums = tf.while_loop(
        lambda start, _: start < num_images, body, (0, initial_sums), parallel_iterations=1
    )
    return sums


def _num_images(batch: Batch) -> tf.Tensor:
    return tf.shape(next(iter(batch.values())))[0]


def _never_empty(batch: Batch, num_images: tf.Tensor) -> Batch:
    """Returns the batch, or a batch with one image of zeros if it has no image."""
    missing = tf.cast(num_images == 0, tf.int32)
    return {
        name: tf.ensure_shape(
            tf.pad(value, [[0, missing]] + [[0, 0]] * (value.shape.rank - 1)), [None, *value.shape[1:]]
        )
        for name, value in batch.items()
    }
