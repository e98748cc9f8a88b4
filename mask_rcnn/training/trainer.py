"""The model that `fit` trains: it divides the losses of all images by their counts."""

import keras
import tensorflow as tf
from keras import ops

from mask_rcnn.config import LOSS_NORMALIZATIONS
from mask_rcnn.config.checks import check_choice


class Trainer(keras.Model):
    """A functional model from a training batch to its losses; their total is minimized.

    `Trainer(model.input, model.output)` shares the weights of `model`. The logs that callbacks, `history` and
    `evaluate` get are over all images since the start of the epoch or since `reset_metrics`:

    - `loss`: the sum of the losses below.
    - each output by its name: the sum of its sums divided by the sum of its counts.
    - `learning_rate`: the rate of the last step; only in training.

    Sums and counts are over all replicas, so nothing depends on how many there are.

    Args:
        inputs: dict of `keras.Input`, the names are those of a batch.
        outputs: dict of tensors `[B, 2]`: the sum of each image, and the count to divide it by.
        loss_normalization: "batch" divides the sum over all images by the count over all images, so that each
            RoI counts the same (as detectron2 and torchvision). "image" divides the sum of each image by its
            own count and takes the mean over the images. Defaults to "batch".
    """

    def __init__(self, inputs, outputs, loss_normalization="batch"):
        check_choice("loss_normalization", loss_normalization, LOSS_NORMALIZATIONS)
        super().__init__(inputs, outputs)
        self.loss_normalization = loss_normalization
        self.loss_means = LossMeans(list(outputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        totals = self._totals(y_pred)
        counts = _over_replicas(totals)[:, 1]
        # Keras sums the gradients of the replicas.
        return tf.reduce_sum(tf.math.divide_no_nan(totals[:, 0], counts))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.loss_means.update_state(self._totals(y_pred))
        return self.get_metrics_result()

    def train_step(self, data):
        learning_rate = ops.convert_to_tensor(self.optimizer.learning_rate)  # before the update moves it
        return {**super().train_step(data), "learning_rate": learning_rate}

    def _totals(self, outputs):
        """Returns `[L, 2]`: the sums and the counts of the L losses over the images of this replica."""
        pairs = tf.stack(list(outputs.values()), axis=1)  # [B, L, 2]
        if self.loss_normalization == "image":
            means = tf.math.divide_no_nan(pairs[..., 0], pairs[..., 1])
            pairs = tf.stack([means, tf.ones_like(means)], axis=-1)
        return tf.reduce_sum(pairs, axis=0)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # A functional model is built already. To learn its shapes, Keras 3.15 would draw a batch here and
        # average it over the replicas, which fails for whatever cannot be averaged.
        with self.distribute_strategy.scope():
            self.optimizer.build(self.trainable_variables)


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
