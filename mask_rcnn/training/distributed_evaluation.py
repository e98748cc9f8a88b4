"""Distributed evaluation: each process computes its share of the images, and the chief computes the scores.

The results equal those of a single process exactly: each image stays in the same batch (see
`model_evaluation`), and sums over the images have a fixed order.
"""

import numpy as np
import tensorflow as tf

from mask_rcnn.evaluation.metrics import Metrics
from mask_rcnn.training.batches import validation_batches


def evaluate_together(evaluation, context):
    """Detects in all images of a data set and scores the detections.

    Processes send each other their detections, so they need no common disk.

    Args:
        evaluation: `ModelEvaluation` of this process.
        context: `RunContext`.

    Returns:
        metrics: `Metrics`, in each process.
        entries: Entries of a COCO results file in the chief, None in the other processes.

    Raises:
        ValueError: The detection failed in another process.
    """
    share = (context.rank, context.num_processes)
    batch_size = context.gather_numbers(evaluation.predictor.default_batch_size())[0]
    found = context.agree(lambda: evaluation.detect(share, batch_size=batch_size))
    shares = context.gather_to_chief([found, list(evaluation.unreadable.reasons.items())])
    scored = context.agree(lambda: _score(evaluation, shares) if context.is_chief else None)
    metrics, entries = scored or (None, None)
    content = context.gather(metrics and metrics.to_json())[0]
    return Metrics.from_json(content), entries


def _score(evaluation, shares):
    """Returns `ModelEvaluation.score` for the detections and unreadable images of all shares."""
    reasons = {image_id: reason for _, unreadable in shares for image_id, reason in unreadable}
    for record in evaluation.dataset.images:
        if record.id in reasons:
            evaluation.unreadable.add(record, reasons[record.id])
    return evaluation.score([each for found, _ in shares for each in found])


class SharedLosses:
    """Computes the mean losses of a model on a validation set.

    There are no random changes of the images. Anchors and RoIs are sampled with the same seeds each time.

    Args:
        dataset: `Dataset`.
        context: `RunContext`.
    """

    def __init__(self, dataset, context):
        self.dataset, self.context = dataset, context
        self._totals_of = None  # traced once, because the model of a run stays the same

    def __call__(self, model):
        """Returns `{"loss": 0.5, "box_loss": 0.1, ...}` of a `MaskRCNN`, the same as `MaskRCNN.evaluate`."""
        totals = self.context.agree(lambda: self._totals(model))
        every = [each for share in self.context.gather(totals) for each in share]
        sums, counts = np.sum(every, axis=0).T  # float64 [L] each, from [N, L, 2]
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        return {"loss": float(means.sum()), **dict(zip(model.loss_means.names, means.tolist(), strict=True))}

    def _totals(self, model):
        """Returns sums and counts of the losses of each image of this process, nested lists `[N, L, 2]`."""
        batches = validation_batches(self.dataset, model, (self.context.rank, self.context.num_processes))
        if self._totals_of is None:
            self._totals_of = tf.function(
                lambda batch: model.loss_totals(batch, training=False),
                input_signature=[batches.element_spec],
                autograph=False,
            )
        return [self._totals_of(batch).numpy().tolist() for batch in batches]
