"""The validation set: what a model in training finds in it, what that is worth, and how it looks."""

import contextlib
import dataclasses
import functools
from pathlib import Path

import numpy as np
from PIL import Image

from mask_rcnn.data.unreadable import UnreadableImages
from mask_rcnn.errors import UnreadableImage
from mask_rcnn.evaluation import content_of, evaluate_model
from mask_rcnn.heads import iou_types_of
from mask_rcnn.visualize import draw

# Pictures show what is more likely there than not.
PICTURE_SCORE = 0.5
NUM_PICTURES = 8
NUM_REHEARSED = 2  # images


class Validator:
    """Runs a model on a data set with known objects.

    Args:
        predictor: a `Predictor`; it sees the weights as they are at each call.
        dataset: the `Dataset`.
        annotations_path: the COCO json that it was read from; None takes the annotations of `dataset`.
    """

    def __init__(self, predictor, dataset, annotations_path):
        self.predictor = predictor
        self.dataset = dataset
        self.content = content_of(dataset, annotations_path)  # read once: the file may change during the run
        self.best_by = f"{iou_types_of(predictor.config)[-1]}/AP"
        self.unreadable = UnreadableImages(dataset, predictor.config.data.max_bad_images)
        self.found, self.metrics = None, None

    def evaluate(self):
        """Detects in all images; keeps `found`, the entries of a COCO results file, and their `metrics`.

        Returns:
            The numbers of `metrics` as a flat dict: `"segm/AP50": 0.5`.
        """
        self.metrics, self.found = evaluate_model(
            self.predictor, self.dataset, self.content, unreadable=self.unreadable
        )
        summary = self.metrics.summary
        return {f"{kind}/{name}": value for kind, values in summary.items() for name, value in values.items()}

    def rehearse(self):
        """Evaluates the first images, so that an evaluation that cannot work fails before the first step."""
        few = dataclasses.replace(self.dataset, images=self.dataset.images[:NUM_REHEARSED])
        evaluate_model(self.predictor, few, self.content, unreadable=self.unreadable)

    def draw(self, folder):
        """Writes pictures of detections in a few images, spread over the set.

        Args:
            folder: where the PNG files go; made if it is not there.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        count = min(NUM_PICTURES, len(self.dataset))
        records = [self.dataset.images[i] for i in np.linspace(0, len(self.dataset) - 1, count).astype(int)]
        drawn = self.predictor.predict_many(
            [record for record in records if record.id not in self.unreadable.reasons],
            image_of=lambda record: record.path,
            finish=functools.partial(_draw, folder=folder, categories=self.predictor.categories),
            keep_images=True,
            score_threshold=PICTURE_SCORE,
        )
        with contextlib.closing(drawn):
            for record, result in drawn:
                if isinstance(result, UnreadableImage):
                    self.unreadable.add(record, result)
                elif isinstance(result, Exception):
                    raise result


def _draw(record, detections, pixels, folder, categories):
    """Writes the picture of one image; see `predict_many`."""
    picture = draw(pixels(), detections, categories)
    Image.fromarray(picture).save(folder / f"{record.path.stem}.png")
