"""The validation set: what a model in training finds in it, what that is worth, and how it looks."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from mask_rcnn.data.images import read_image
from mask_rcnn.evaluation import content_of, evaluate_model, iou_types_of
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
        annotations_path: the COCO json that it was read from.
    """

    def __init__(self, predictor, dataset, annotations_path):
        self.predictor = predictor
        self.dataset = dataset
        self.content = content_of(dataset, annotations_path)  # read once: the file may change during the run
        self.best_by = f"{iou_types_of(predictor.config)[-1]}/AP"
        self.found, self.metrics = None, None

    def evaluate(self):
        """Detects in all images; keeps `found`, the entries of a COCO results file, and their `metrics`.

        Returns:
            The numbers of `metrics` as a flat dict: `"segm/AP50": 0.5`.
        """
        self.metrics, self.found = evaluate_model(self.predictor, self.dataset, self.content)
        summary = self.metrics.summary
        return {f"{kind}/{name}": value for kind, values in summary.items() for name, value in values.items()}

    def rehearse(self):
        """Evaluates the first images, so that an evaluation that cannot work fails before the first step."""
        few = dataclasses.replace(self.dataset, images=self.dataset.images[:NUM_REHEARSED])
        evaluate_model(self.predictor, few, self.content)

    def draw(self, folder):
        """Writes pictures of detections in a few images, spread over the set.

        Args:
            folder: where the PNG files go; made if it is not there.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        count = min(NUM_PICTURES, len(self.dataset))
        for index in np.linspace(0, len(self.dataset) - 1, count).astype(int):
            path = self.dataset.images[index].path
            image = read_image(path, self.predictor.config.input.bit_depth)
            detections = self.predictor.predict(image)
            detections = detections.keep(detections.scores >= PICTURE_SCORE)
            picture = draw(image, detections, self.predictor.categories)
            Image.fromarray(picture).save(folder / f"{path.stem}.png")
