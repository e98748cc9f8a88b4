"""Measures what a fixed frame, fewer proposals or fewer detections cost an export.

It compares the export with the Keras model at the model's own input size. In the same frame the Keras model
makes the same mistakes as the export, so a comparison in that frame shows no loss.
"""

from dataclasses import dataclass

import numpy as np

from mask_rcnn.data.transforms import input_size
from mask_rcnn.export.checks.compare import MIN_COMPARED_SCORE, match
from mask_rcnn.export.checks.confidence_bounds import share_of
from mask_rcnn.export.runners.keras_runner import Runner
from mask_rcnn.export.runners.outputs import without_padding

CONFIDENT = 0.5  # lowest score of the objects that `mask-rcnn detect` shows
# Largest share of lost or added detections without a warning. Measured with a model of synthetic shapes,
# trained at 128 pixels with segm AP 0.700. Frame 160: 9 % lost, AP 0.673; 96: 14 %, 0.595; 192: 18 %, 0.590;
# 64: 31 %, 0.305; 256: 41 %, 0.450.
MAX_LOSS = 0.1
MAX_SCALE = 1.25  # largest ratio of object sizes to those in training without a warning, and its inverse
TYPICAL_SIZES = {"landscape": (480, 640), "portrait": (640, 480)}


@dataclass(frozen=True, kw_only=True)
class OwnScale:
    """The Keras model with its own input size and limits, without the changes of an export.

    Args:
        runner: `keras_runner.Runner` with the sizes, proposals and detections of the model's config.
        settings: `InputConfig` of the model.
        frame: (height, width) of the export's frame, pixels.
    """

    runner: Runner
    settings: object
    frame: tuple[int, int]


def compare_scales(own_scale, image_sizes):
    """Returns the scale of objects in the frame, relative to the size that the model was trained for.

    Args:
        own_scale: `OwnScale`.
        image_sizes: List of (height, width) of the images, pixels.

    Returns:
        Dict of:

        - `given`: [smallest, median, largest] scale in the images.
        - `landscape`, `portrait`: scale in images of 640 x 480 and of 480 x 640 pixels.
        - `trained`: [smallest, largest] scale in training.
        - `expected`: bool, whether the median and the landscape scale are close to those in training, within
          a factor of MAX_SCALE.
    """
    settings = own_scale.settings
    ratios = [_relative_scale(own_scale, size) for size in image_sizes]
    typical = {name: _relative_scale(own_scale, size) for name, size in TYPICAL_SIZES.items()}
    trained = [each / settings.short_side for each in (*settings.train_short_sides, settings.short_side)]
    limits = min(trained) / MAX_SCALE, max(trained) * MAX_SCALE
    given = [float(value) for value in np.quantile(ratios, [0, 0.5, 1])]
    expected = all(limits[0] <= ratio <= limits[1] for ratio in (given[1], typical["landscape"]))
    return {"given": given, **typical, "trained": [min(trained), max(trained)], "expected": expected}


def _relative_scale(own_scale, image_size):
    settings = own_scale.settings
    trained = max(input_size(image_size, settings.short_side, settings)) / max(image_size)
    return float(np.min(np.divide(own_scale.frame, image_size)) / trained)


def compare_with_own_scale(own_scale, images, found):
    """Counts the confident detections that only the export, or only the model at its own scale, has.

    A detection is confident from score CONFIDENT. It is found by the other model if that has the same
    detection with at least score MIN_COMPARED_SCORE.

    Args:
        own_scale: `OwnScale`.
        images: `{name: [H, W, 3] uint8}`.
        found: Outputs of the export, `{image name: {output: array}}`.

    Returns:
        Dict of:

        - `scale`: result of `compare_scales`.
        - `lost`: result of `share_of`, confident detections of the model that the export does not find.
        - `added`: result of `share_of`, confident detections of the export that the model does not find.
    """
    expected = {name: own_scale.runner(image) for name, image in images.items()}
    lost = [_unmatched(expected[name], found[name]) for name in images]
    added = [_unmatched(found[name], expected[name]) for name in images]
    return {
        "scale": compare_scales(own_scale, [image.shape[:2] for image in images.values()]),
        "lost": share_of(*zip(*lost, strict=True)),
        "added": share_of(*zip(*added, strict=True)),
    }


def _unmatched(outputs, others):
    """Returns the number of confident detections without a counterpart, and of all confident detections."""
    outputs, others = _from_score(outputs, CONFIDENT), _from_score(others, MIN_COMPARED_SCORE)
    matched, _ = match(outputs, others)
    total = len(outputs["detection_scores"])
    return total - len(matched), total


def _from_score(outputs, least):
    rows = without_padding(outputs)
    kept = rows["detection_scores"] >= least
    return {name: values[kept] for name, values in rows.items()}


def own_scale_warnings(report):
    """Yields a sentence for each important difference between an export and the model at its own scale.

    Args:
        report: Dict, result of `compare_with_own_scale`.
    """
    scale, (least, median, most) = report["scale"], report["scale"]["given"]
    if not scale["expected"]:
        yield (
            f"Objects are {median:.2f} times as large as at the model's own size ({least:.2f} to {most:.2f} "
            f"in these images; {scale['landscape']:.2f} in landscape images of 4:3, {scale['portrait']:.2f} "
            f"in portrait ones). It was trained for {scale['trained'][0]:.2f} to {scale['trained'][1]:.2f}. "
            "Choose a --size closer to the model's, or train at the size of the frame."
        )
    sides = {"lost": "of the model at its own size are lost", "added": "of the export are not the model's"}
    for name, what in sides.items():
        share = report[name]
        if share["share"] > MAX_LOSS:
            yield (
                f"{share['count']} of {share['total']} confident detections {what}: {share['share']:.0%}, "
                f"between {share['lower']:.0%} and {share['upper']:.0%} in images like these; at most "
                f"{MAX_LOSS:.0%} is expected. Choose another --size, or more --proposals and --detections."
            )
