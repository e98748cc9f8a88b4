"""Measures what a fixed frame, fewer proposals or fewer detections cost an export.

It compares the export with the Keras model at the input size of the model's config. In the same frame, the
Keras model makes the same mistakes as the export, so a comparison in that frame shows no loss.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mask_rcnn.config import InputConfig
from mask_rcnn.data.transforms import input_size
from mask_rcnn.export.checks.compare import MIN_COMPARED_SCORE, match_detections
from mask_rcnn.export.checks.confidence_bounds import estimate_fraction
from mask_rcnn.export.runners.outputs import Outputs, without_padding

CONFIDENT = 0.5  # lowest score of the objects that `mask-rcnn detect` shows
# Largest fraction of lost or added detections without a warning. Measured with a model of synthetic shapes,
# trained at 128 pixels with segm AP 0.700. Frame 160: 9 % lost, AP 0.673; 96: 14 %, 0.595; 192: 18 %, 0.590;
# 64: 31 %, 0.305; 256: 41 %, 0.450.
MAX_LOSS = 0.1
MAX_SCALE = 1.25  # largest ratio of object sizes to those in training without a warning, and its inverse
TYPICAL_SIZES = {"landscape": (480, 640), "portrait": (640, 480)}


@dataclass(frozen=True, kw_only=True)
class TrainingScale:
    """The Keras model with the input size and the limits of its config, without the changes of an export.

    Args:
        runner: `keras_runner.Runner` with the sizes, proposals and detections of the model's config.
        settings: `InputConfig` of the model.
        frame: (height, width) of the export's frame, pixels.
    """

    runner: Callable[[np.ndarray], Outputs]
    settings: InputConfig
    frame: tuple[int, int]


def compare_scales(training_scale: TrainingScale, image_sizes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Returns the scale of objects in the frame, relative to the size that the model was trained for.

    Args:
        training_scale: The model at its training scale.
        image_sizes: (height, width) of each image, pixels.

    Returns:
        Dict of:

        - `in_images`: [smallest, median, largest] scale in the images.
        - `landscape`, `portrait`: scale in images of 640 x 480 and of 480 x 640 pixels.
        - `trained`: [smallest, largest] scale in training.
        - `is_expected`: bool, whether the median and the landscape scale are close to those in training,
          within a factor of MAX_SCALE.
    """
    settings = training_scale.settings
    ratios = [_relative_scale(training_scale, size) for size in image_sizes]
    typical = {name: _relative_scale(training_scale, size) for name, size in TYPICAL_SIZES.items()}
    trained = [side / settings.short_side for side in (*settings.train_short_sides, settings.short_side)]
    limits = min(trained) / MAX_SCALE, max(trained) * MAX_SCALE
    in_images = [float(value) for value in np.quantile(ratios, [0, 0.5, 1])]
    is_expected = all(limits[0] <= ratio <= limits[1] for ratio in (in_images[1], typical["landscape"]))
    return {
        "in_images": in_images,
        **typical,
        "trained": [min(trained), max(trained)],
        "is_expected": is_expected,
    }


def _relative_scale(training_scale: TrainingScale, image_size: tuple[int, int]) -> float:
    """Returns the scale of an image in the frame, divided by its scale in the model's input."""
    settings = training_scale.settings
    trained = max(input_size(image_size, settings.short_side, settings)) / max(image_size)
    return float(np.min(np.divide(training_scale.frame, image_size)) / trained)


def compare_with_training_scale(
    training_scale: TrainingScale, images: Mapping[str, np.ndarray], found: Mapping[str, Outputs]
) -> dict[str, Any]:
    """Counts the confident detections that only the export, or only the model at its training scale, has.

    A detection is confident from score CONFIDENT. It is found by the other model if that has the same
    detection with at least score MIN_COMPARED_SCORE.

    Args:
        training_scale: The model at its training scale.
        images: `{name: [H, W, 3] uint8}`.
        found: Outputs of the export, `{image name: {output: array}}`.

    Returns:
        Dict of:

        - `scale`: result of `compare_scales`.
        - `lost`: result of `estimate_fraction`, confident detections of the model that the export misses.
        - `added`: result of `estimate_fraction`, confident detections of the export that the model misses.
    """
    expected = {name: training_scale.runner(image) for name, image in images.items()}
    lost = [_unmatched(expected[name], found[name]) for name in images]
    added = [_unmatched(found[name], expected[name]) for name in images]
    return {
        "scale": compare_scales(training_scale, [image.shape[:2] for image in images.values()]),
        "lost": estimate_fraction(*zip(*lost, strict=True)),
        "added": estimate_fraction(*zip(*added, strict=True)),
    }


def _unmatched(outputs: Outputs, reference: Outputs) -> tuple[int, int]:
    """Returns the number of confident detections that `reference` lacks, and of all confident detections."""
    outputs, reference = _above(outputs, CONFIDENT), _above(reference, MIN_COMPARED_SCORE)
    matched, _ = match_detections(outputs, reference)
    total = len(outputs["detection_scores"])
    return total - len(matched), total


def _above(outputs: Outputs, min_score: float) -> Outputs:
    """Returns the rows of the detections with a score of at least `min_score`."""
    rows = without_padding(outputs)
    kept = rows["detection_scores"] >= min_score
    return {name: values[kept] for name, values in rows.items()}


def training_scale_warnings(report: Mapping[str, Any]) -> Iterator[str]:
    """Yields a sentence for each important difference between an export and the model at its training scale.

    Args:
        report: Dict, result of `compare_with_training_scale`.
    """
    scale = report["scale"]
    if not scale["is_expected"]:
        smallest, median, largest = scale["in_images"]
        yield (
            f"In the frame, objects are {median:.2f} times as large as at the input size of the config "
            f"({smallest:.2f} to {largest:.2f} in these images; {scale['landscape']:.2f} in landscape images "
            f"of 4:3, {scale['portrait']:.2f} in portrait images). The model was trained with "
            f"{scale['trained'][0]:.2f} to {scale['trained'][1]:.2f}. Choose a --size closer to the input "
            "size of the config, or train with the size of the frame."
        )
    texts = {
        "lost": "detections of the Keras model at its training scale are missing in the export",
        "added": "detections of the export are missing in the Keras model at its training scale",
    }
    for name, text in texts.items():
        estimate = report[name]
        if estimate["fraction"] > MAX_LOSS:
            yield (
                f"{estimate['count']} of {estimate['total']} confident {text}: {estimate['fraction']:.0%} "
                f"({estimate['lower']:.0%} to {estimate['upper']:.0%} in images like these). "
                f"At most {MAX_LOSS:.0%} are acceptable. Choose another --size, or increase --proposals and "
                "--detections."
            )
