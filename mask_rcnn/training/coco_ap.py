"""Keras callback that computes COCO's average precision after epochs of `fit`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from mask_rcnn.data.readers.coco import read_coco
from mask_rcnn.data.records import Dataset
from mask_rcnn.data.unreadable import UnreadableImages
from mask_rcnn.evaluation.coco_evaluation import content_of_dataset
from mask_rcnn.evaluation.metrics import Metrics
from mask_rcnn.evaluation.model_evaluation import ModelEvaluation
from mask_rcnn.training.distributed_evaluation import evaluate_distributed
from mask_rcnn.training.mask_rcnn import MaskRCNN
from mask_rcnn.training.optimizer import averaged_weights
from mask_rcnn.training.processes import run_context


class CocoAP(keras.callbacks.Callback):
    """Adds COCO's metrics to the logs of an epoch: `val_bbox/AP`, `val_segm/AP50`, ...

    List it before the callbacks that use these metrics, and tell them that higher is better:
    `callbacks=[CocoAP(...), EarlyStopping(monitor="val_segm/AP", mode="max")]`. A metric that cannot be
    measured is left out of the logs. If the optimizer has `use_ema`, its averaged weights are evaluated. With
    several processes, each process evaluates a part of the images, and all of them get the metrics.

    Args:
        annotations: Path of a COCO json file or of TFRecord files, or a `Dataset` from `read_coco`.
        images_dir: Path of the folder of 8-bit RGB images. Defaults to None, which is for TFRecord files and
            a `Dataset`.
        every: Number of epochs between evaluations. The last epoch is always evaluated. Defaults to 1.

    Raises:
        ValueError: If a folder is missing for a json file, or given with a `Dataset`.

    Attributes:
        metrics: `Metrics` of the last evaluation, with a table by class. None before the first evaluation.
    """

    if TYPE_CHECKING:
        model: MaskRCNN  # set by `fit`
        params: dict[str, Any]

    def __init__(
        self, annotations: str | Path | Dataset, images_dir: str | Path | None = None, *, every: int = 1
    ) -> None:
        super().__init__()
        if not isinstance(annotations, Dataset):
            self.dataset = read_coco(annotations, images_dir)
            self.content = content_of_dataset(self.dataset, annotations)
        elif images_dir is None:
            self.dataset, self.content = annotations, content_of_dataset(annotations)
        else:
            raise ValueError(
                "`images_dir` is for the path of a json, for a `Dataset` has its images. "
                f"Received: a Dataset and images_dir={images_dir}. Pass the `Dataset` alone."
            )
        self.every = every
        self.metrics: Metrics | None = None
        self._unreadable: UnreadableImages | None = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if (epoch + 1) % self.every and epoch + 1 != self.params["epochs"]:
            return
        predictor = self.model.predictor
        if self._unreadable is None:
            self._unreadable = UnreadableImages(self.dataset, predictor.config.data.max_bad_images)
        evaluation = ModelEvaluation(predictor, self.dataset, self.content, unreadable=self._unreadable)
        with averaged_weights(self.model):
            self.metrics, _ = evaluate_distributed(evaluation, run_context(self.model.distribute_strategy))
        if logs is None:  # Keras always gives a dict
            return
        for iou_type, values in self.metrics.summary.items():
            measured = {name: value for name, value in values.items() if value is not None}
            logs |= {f"val_{iou_type}/{name}": value for name, value in measured.items()}
