"""Outputs of exported models for one image: NumPy arrays named as in the TensorFlow Object Detection API.

| name | shape | dtype | meaning |
|---|---|---|---|
| `detection_boxes` | `[D, 4]` | float32 | y1, x1, y2, x2 as fractions of the *original* image; best first |
| `detection_scores` | `[D]` | float32 | 0..1 |
| `detection_classes` | `[D]` | float32 | 1..K: class i is line i of labels.txt; 0 in padding rows |
| `detection_masks` | `[D, M, M]` | float32 | probabilities on a grid inside the box; with a mask head |
| `detection_keypoints` | `[D, J, 2]` | float32 | y, x as fractions of the original image; keypoint head |
| `detection_keypoint_scores` | `[D, J]` | float32 | 0..1, the heatmap's softmax at the keypoint |
| `detection_NAME` | `[D, ...]` | float32 | output NAME of a registered head |
| `num_detections` | `[]` | float32 | number of detections; the rows after them are padding and zero |

As in the Object Detection API, classes are floats. Class i is line i of labels.txt, counted from 1. The
category ids of the data set, which may have gaps or begin at 0, are in categories.json. A batch adds a first
axis.

D is the number of rows. In a TFLite or ONNX file it is fixed: the largest number of detections. In a
SavedModel it is the largest `num_detections` of the batch, 0 without detections. A JSON reply then contains
no row that is padding for every image of the batch.
"""

import numpy as np

from mask_rcnn.postprocessing.paste import paste_masks
from mask_rcnn.structures import Detections

Outputs = dict[str, np.ndarray]  # `{name: array}`, see the table above

# Outputs that are fields of `Detections`. The others become its `attributes`.
DETECTION_OUTPUTS = {
    "detection_boxes",
    "detection_scores",
    "detection_classes",
    "detection_masks",
    "detection_keypoints",
    "detection_keypoint_scores",
}


def has_rows(name: str) -> bool:
    """Returns whether an output has one row per detection."""
    return name.startswith("detection_")


def without_padding(outputs: Outputs) -> Outputs:
    """Returns the outputs for one image that have rows, without the padding rows, `{name: array}`."""
    count = int(outputs["num_detections"])
    return {name: np.asarray(output)[:count] for name, output in outputs.items() if has_rows(name)}


def to_detections(
    outputs: Outputs, image_size: tuple[int, int], *, paste: str, score_threshold: float = 0.0
) -> Detections:
    """Converts the outputs of a runner for one image to `Detections`.

    Args:
        outputs: `{name: array}`, see the table at the top of this file.
        image_size: (height, width) of the image, pixels.
        paste: Method of `paste_masks`, from the model's config.
        score_threshold: Detections with lower scores are left out, 0..1. Defaults to 0.0.
    """
    rows = without_padding(outputs)
    kept = ~(rows["detection_scores"] < score_threshold)  # keeps NaN, so that users see it
    rows = {name: values[kept] for name, values in rows.items()}
    boxes = rows["detection_boxes"] * np.tile(np.array(image_size, "float32"), 2)
    masks, origins, keypoints = None, None, None
    if "detection_masks" in rows:
        masks, origins = paste_masks(rows["detection_masks"], boxes, image_size, method=paste)
    if "detection_keypoints" in rows:
        points = rows["detection_keypoints"] * np.array(image_size, "float32")  # [N, J, 2] yx
        scores = rows["detection_keypoint_scores"][..., None]
        keypoints = np.concatenate([points[..., ::-1], scores], axis=-1)  # [N, J, 3] x, y, score
    return Detections(
        boxes=boxes,
        scores=rows["detection_scores"],
        class_ids=rows["detection_classes"].astype("int32"),
        image_size=image_size,
        masks=masks,
        mask_origins=origins,
        keypoints=keypoints,
        attributes={name.removeprefix("detection_"): rows[name] for name in rows.keys() - DETECTION_OUTPUTS},
    )
