"""The model that `fit` trains: its outputs are the losses of each image."""

import keras
from keras import ops


class Trainer(keras.Model):
    """A functional model from a training batch to its losses; its total is what is minimised.

    `Trainer(model.input, model.output)` shares the weights of `model`. The logs of a step, which
    callbacks and `history` get, are the values of that step:

    - `loss`: the sum of the losses below.
    - each output by its name: its mean over the images of the step.
    - `learning_rate`: the rate of the step.

    Nothing depends on the number of replicas: each divides by the images of the whole batch, given
    that all replicas get equally many (`distribution.make_strategy` checks).

    Args:
        inputs: dict of `keras.Input`, the names are those of a batch.
        outputs: dict of tensors `[B]`, one loss for each image.
    """

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # Keras sums the gradients of the replicas.
        return self._named_losses(y_pred)["loss"] / self.distribute_strategy.num_replicas_in_sync

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return self._named_losses(y_pred)

    def train_step(self, data):
        learning_rate = ops.convert_to_tensor(self.optimizer.learning_rate)  # before the update moves it
        return {**super().train_step(data), "learning_rate": learning_rate}

    def _named_losses(self, outputs):
        losses = {name: ops.mean(loss) for name, loss in outputs.items()}  # [B] -> []
        return {"loss": sum(losses.values()), **losses}

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # A functional model is built already. To learn its shapes, Keras 3.15 would draw a batch here and
        # average it over the replicas, which fails for whatever cannot be averaged.
        with self.distribute_strategy.scope():
            self.optimizer.build(self.trainable_variables)
