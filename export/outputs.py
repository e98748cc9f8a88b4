"""What every exported model says, in the words of the TensorFlow Object Detection API, as NumPy arrays.

| name | shape | dtype | meaning |
|---|---|---|---|
| `detection_boxes` | `[D, 4]` | float32 | y1, x1, y2, x2 as parts of the *original* image, 0..1; best first |
| `detection_scores` | `[D]` | float32 | 0..1 |
| `detection_classes` | `[D]` | float32 | 1..K: class i is line i of labels.txt; 0 behind the last detection |
| `detection_masks` | `[D, M, M]` | float32 | probabilities on a grid inside the box; with a mask head |
| `detection_keypoints` | `[D, J, 2]` | float32 | y, x as parts of the original image; with a keypoint head |
| `detection_keypoint_scores` | `[D, J]` | float32 | 0..1, the heatmap's softmax there |
| `detection_NAME` | `[D, ...]` | float32 | output NAME of a registered head |
| `num_detections` | `[]` | float32 | rows that are detections; those behind are zeros |

Classes are floats as there, and the label map's ids there are the numbers of the lines here: the ids of the
data set, which may have gaps or begin at 0, are in categories.json. A batch adds an axis in front.

D is the number of rows. In a TFLite or ONNX file it is fixed, the most detections that come out. In a
SavedModel it is the largest `num_detections` of the batch, 0 if nothing is found: a JSON reply has no rows
that are padding for every image of the batch.
"""

import numpy as np

from mask_rcnn.paste import paste_masks
from mask_rcnn.structures import Detections

# The outputs that are fields of `Detections`; others are its `attributes`.
WORDS = {
    "detection_boxes",
    "detection_scores",
    "detection_classes",
    "detection_masks",
    "detection_keypoints",
    "detection_keypoint_scores",
}


def has_rows(name):
    """Whether an output has a row for each detection."""
    return name.startswith("detection_")


def without_padding(outputs):
    """Returns the outputs for one image cut behind the last detection, `{name: array}`."""
    count = int(outputs["num_detections"])
    return {name: np.asarray(output)[:count] for name, output in outputs.items() if has_rows(name)}


def to_detections(outputs, image_size, paste, score_threshold=0.0):
    """Returns the `Detections` that the outputs of a runner for one image say.

    Args:
        outputs: `{name: array}`; see the head of this file.
        image_size: (height, width) of the image.
        paste: method of `paste_masks`, the one of the model's config.
        score_threshold: detections with lower scores are left out.
    """
    rows = without_padding(outputs)
    sure = ~(rows["detection_scores"] < score_threshold)  # NaN stays visible
    rows = {name: values[sure] for name, values in rows.items()}
    boxes = rows["detection_boxes"] * np.tile(np.array(image_size, "float32"), 2)
    masks, origins, keypoints = None, None, None
    if "detection_masks" in rows:
        masks, origins = paste_masks(rows["detection_masks"], boxes, image_size, paste)
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
        attributes={name.removeprefix("detection_"): rows[name] for name in rows.keys() - WORDS},
    )
