"""Runs the Keras model as an exported one is run: what the others are compared with."""

import keras
import numpy as np
import tensorflow as tf

from mask_rcnn.export.assets import write_assets
from mask_rcnn.predict import Predictor


class Runner:
    """A weights file or a `Predictor`, with the outputs of an exported model.

    Args:
        model: a `Predictor`, or the path of a weights file.
        threads: that an op may use; None is TensorFlow's choice. To be set before TensorFlow's first op.
    """

    def __init__(self, model, threads=None):
        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        self.predictor = model if isinstance(model, Predictor) else Predictor.load(model)
        self.assets = write_assets(self.predictor.config, self.predictor.categories)
        self.versions = {"tensorflow": tf.__version__, "keras": keras.__version__}

    def __call__(self, image):
        batch, resize = self.predictor.preprocess(image)
        outputs = {name: output[0].numpy() for name, output in self.predictor.detect(batch).items()}
        limits = np.tile(np.array(image.shape[:2], "float32"), 2)
        found = {
            "detection_boxes": resize.invert_boxes(outputs["boxes"]) / limits,
            "detection_scores": outputs["scores"],
            "detection_classes": outputs["class_ids"].astype("float32"),
            "num_detections": np.float32(np.count_nonzero(outputs["class_ids"])),
        }
        if "masks" in outputs:
            found["detection_masks"] = outputs["masks"]
        return found
