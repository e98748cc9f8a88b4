"""Runs the Keras model with the interface of an exported model, as the reference for comparisons."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mask_rcnn.config import Config
from mask_rcnn.data.transforms import Resize
from mask_rcnn.export.runners.outputs import Outputs
from mask_rcnn.export.runners.saved_model_runner import set_threads
from mask_rcnn.export.writers.assets import write_assets
from mask_rcnn.heads import heads_of
from mask_rcnn.prediction.predict import Predictor


class Runner:
    """The Keras model, with the outputs of an exported model.

    Args:
        model: A `Predictor`, or the path of a weights file.
        threads: Int or None, as in `set_threads`.

    Attributes:
        predictor: The `Predictor`.
        assets: `{file name: text}` of `write_assets`.
        versions: `{package: version}` of TensorFlow and Keras.

    Call arguments:
        image: `[H, W, C]` array, uint8 RGB unless the config specifies another format.

    Returns:
        `{name: array}`, see `outputs.py`.
    """

    def __init__(self, model: Predictor | Path | str, threads: int | None = None):
        set_threads(threads)
        self.predictor = model if isinstance(model, Predictor) else Predictor.load(model)
        self.assets = write_assets(self.predictor.config, self.predictor.categories)
        self.versions = {"tensorflow": tf.__version__, "keras": keras.__version__}

    def __call__(self, image: np.ndarray) -> Outputs:
        inputs, resize = self.predictor.preprocess(image)
        return to_export_outputs(self.predictor.detect_batch([inputs])[0], resize, self.predictor.config)


def to_export_outputs(outputs: Mapping[str, np.ndarray], resize: Resize, config: Config) -> Outputs:
    """Converts the outputs of a `Predictor` for one image to those of exported models; see `outputs.py`.

    Args:
        outputs: Dict of `Predictor.detect_batch` for the image.
        resize: The `Resize` of `Predictor.preprocess`.
        config: `Config` of the model.

    Returns:
        `{name: array}`, without the batch axis.
    """
    count = np.count_nonzero(outputs["class_ids"])
    size = np.array(resize.original, "float32")
    boxes = resize.invert_boxes(outputs["boxes"], config.inclusive_boxes)
    exported = {
        "detection_boxes": boxes / np.tile(size, 2),
        "detection_scores": outputs["scores"],
        "detection_classes": outputs["class_ids"].astype("float32"),
        "num_detections": np.float32(count),
    }
    for head in heads_of(config):
        if "keypoint_heatmaps" in head.outputs:
            rows = {name: output[:count] for name, output in outputs.items()}
            keypoints = head.decode(rows, boxes[:count], resize)["keypoints"]  # [N, J, 3] x, y, score
            exported["detection_keypoints"] = keypoints[..., 1::-1] / size
            exported["detection_keypoint_scores"] = keypoints[..., 2]
        else:
            exported |= {f"detection_{name}": outputs[name] for name in head.outputs}
    return exported
