"""Mask R-CNN for Keras 3 and TensorFlow 2.

>>> predictor = mask_rcnn.load("best.weights.h5")  # doctest: +SKIP
>>> detections = predictor.predict("photo.jpg")  # doctest: +SKIP
>>> picture = mask_rcnn.draw("photo.jpg", detections, predictor.categories)  # doctest: +SKIP
"""

import importlib

__version__ = "0.1.0"

# Imported when first used: TensorFlow takes seconds, and the command line's --help does not need it.
_PUBLIC = {
    "AugmentedPredictor": ("prediction.augmented_predictor", "AugmentedPredictor"),
    "CocoAP": ("training.coco_ap", "CocoAP"),
    "Config": ("config", "Config"),
    "Detections": ("structures", "Detections"),
    "MaskRCNN": ("training.mask_rcnn", "MaskRCNN"),
    "Predictor": ("prediction.predict", "Predictor"),
    "TiledPredictor": ("prediction.tiled_predictor", "TiledPredictor"),
    "Tiling": ("prediction.tiles", "Tiling"),
    "draw": ("visualization.drawing", "draw"),
    "load": ("prediction.predict", "load"),
    "read_coco": ("data.coco", "read_coco"),
    "read_image": ("data.images", "read_image"),
    "train": ("training.train", "train"),
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__():
    return sorted(__all__)
