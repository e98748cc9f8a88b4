"""Keras callback that computes COCO's average precision after epochs of `fit`."""

import keras

from mask_rcnn.data.coco import read_coco
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.unreadable import UnreadableImages
from mask_rcnn.evaluation.coco_evaluation import content_of_dataset
from mask_rcnn.evaluation.model_evaluation import ModelEvaluation
from mask_rcnn.training.distributed_evaluation import evaluate_together
from mask_rcnn.training.optimizer import averaged_weights
from mask_rcnn.training.processes import run_context


class CocoAP(keras.callbacks.Callback):
    """Adds COCO's metrics to the logs of an epoch: `val_bbox/AP`, `val_segm/AP50`, ...

    List it before the callbacks that use these metrics, and tell them that higher is better:
    `callbacks=[CocoAP(...), EarlyStopping(monitor="val_segm/AP", mode="max")]`. A metric that cannot be
    measured is left out of the logs. If the optimizer has `use_ema`, its averaged weights are evaluated. With
    several processes, each process detects in its share of the images, and all of them get the metrics.

    Args:
        images: Path of a folder of 8-bit RGB images, or the `Dataset` that `read_coco` returned for the
            annotations.
        annotations: Path of the COCO json file. Defaults to None: the annotations of a `Dataset`.
        every: Number of epochs between evaluations. The last epoch is always evaluated. Defaults to 1.

    Attributes:
        metrics: `Metrics` of the last evaluation, with a table by class. None before the first evaluation.
    """

    def __init__(self, images, annotations=None, every=1):
        super().__init__()
        self.dataset = images if isinstance(images, Dataset) else read_coco(annotations, images)
        self.content = content_of_dataset(self.dataset, annotations)
        self.every = every
        self.metrics, self._unreadable = None, None

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every and epoch + 1 != self.params["epochs"]:
            return
        predictor = self.model.predictor
        if self._unreadable is None:
            self._unreadable = UnreadableImages(self.dataset, predictor.config.data.max_bad_images)
        evaluation = ModelEvaluation(predictor, self.dataset, self.content, unreadable=self._unreadable)
        with averaged_weights(self.model):
            self.metrics, _ = evaluate_together(evaluation, run_context(self.model.distribute_strategy))
        for kind, values in self.metrics.summary.items():
            found = {name: value for name, value in values.items() if value is not None}
            logs |= {f"val_{kind}/{name}": value for name, value in found.items()}
