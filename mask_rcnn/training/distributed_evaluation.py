"""Distributed evaluation: each process evaluates a part of the images, and the chief computes the scores.

The results equal those of a single process exactly: each image stays in the same batch (see
`model_evaluation`), and sums over the images have a fixed order.
"""

import numpy as np
import tensorflow as tf

from mask_rcnn.data.records import Dataset
from mask_rcnn.evaluation.metrics import Metrics
from mask_rcnn.evaluation.model_evaluation import ModelEvaluation
from mask_rcnn.training.batches import validation_batches
from mask_rcnn.training.mask_rcnn import MaskRCNN
from mask_rcnn.training.processes import RunContext


def evaluate_distributed(
    evaluation: ModelEvaluation, context: RunContext
) -> tuple[Metrics, list[dict] | None]:
    """Detects the objects in all images of a data set and computes the scores of the detections.

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
    detections = context.run_in_all_processes(lambda: evaluation.detect(share, batch_size=batch_size))
    gathered = context.gather_to_chief([detections, list(evaluation.unreadable.reasons.items())])
    scored = context.run_in_all_processes(lambda: _score(evaluation, gathered) if context.is_chief else None)
    metrics, entries = scored or (None, None)
    content = context.gather(metrics and metrics.to_json())[0]
    return Metrics.from_json(content), entries


def _score(evaluation: ModelEvaluation, gathered: list) -> tuple[Metrics, list[dict]]:
    """Returns `ModelEvaluation.score` for the detections and unreadable images of all processes."""
    reasons = {image_id: reason for _, unreadable in gathered for image_id, reason in unreadable}
    for record in evaluation.dataset.images:
        if record.id in reasons:
            evaluation.unreadable.add(record, reasons[record.id])
    return evaluation.score([of_image for detections, _ in gathered for of_image in detections])


class ValidationLosses:
    """Computes the mean losses of a model on a validation set, with all processes of a run.

    There are no random changes of the images. Anchors and RoIs are sampled with the same seeds each time.

    Args:
        dataset: `Dataset`, the validation set.
        context: `RunContext`.
    """

    def __init__(self, dataset: Dataset, context: RunContext) -> None:
        self.dataset, self.context = dataset, context
        self._batch_totals = None  # traced once, because the model of a run stays the same

    def __call__(self, model: MaskRCNN) -> dict[str, float]:
        """Returns `{"loss": 0.5, "box_loss": 0.1, ...}` of a `MaskRCNN`, the same as `MaskRCNN.evaluate`."""
        totals = self.context.run_in_all_processes(lambda: self._totals(model))
        image_totals = [image for part in self.context.gather(totals) for image in part]
        sums, counts = np.sum(image_totals, axis=0).T  # float64 [L] each, from [N, L, 2]
        means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
        return {"loss": float(means.sum()), **dict(zip(model.loss_means.names, means.tolist(), strict=True))}

    def _totals(self, model: MaskRCNN) -> list[list[list[float]]]:
        """Returns sums and counts of the losses of each image of this process, nested lists `[N, L, 2]`."""
        batches = validation_batches(self.dataset, model, (self.context.rank, self.context.num_processes))
        if self._batch_totals is None:
            self._batch_totals = tf.function(
                lambda batch: model.loss_totals(batch, training=False),
                input_signature=[batches.element_spec],
                autograph=False,
            )
        return [self._batch_totals(batch).numpy().tolist() for batch in batches]
