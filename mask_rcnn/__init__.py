"""Mask R-CNN for Keras 3 and TensorFlow 2.

>>> predictor = mask_rcnn.load("best.weights.h5")  # doctest: +SKIP
>>> detections = predictor.predict("photo.jpg")  # doctest: +SKIP
>>> picture = mask_rcnn.draw("photo.jpg", detections, predictor.categories)  # doctest: +SKIP
"""

import importlib

TYPE_CHECKING = False  # type checkers take it as true; the import of `typing` would take milliseconds

__version__ = "0.1.0"

# {public name: (module, name in the module)}. The names are imported when they are first used: TensorFlow
# takes seconds, and the `--help` of the commands does not need it.
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
    "read_coco": ("data.readers.coco", "read_coco"),
    "read_image": ("data.image_io.images", "read_image"),
    "train": ("training.train", "train"),
}

# Editors and type checkers read this list and the imports below. A test checks that they equal `_PUBLIC`.
__all__ = [
    "AugmentedPredictor",
    "CocoAP",
    "Config",
    "Detections",
    "MaskRCNN",
    "Predictor",
    "TiledPredictor",
    "Tiling",
    "__version__",
    "draw",
    "load",
    "read_coco",
    "read_image",
    "train",
]

if TYPE_CHECKING:
    from mask_rcnn.config import Config
    from mask_rcnn.data.image_io.images import read_image
    from mask_rcnn.data.readers.coco import read_coco
    from mask_rcnn.prediction.augmented_predictor import AugmentedPredictor
    from mask_rcnn.prediction.predict import Predictor, load
    from mask_rcnn.prediction.tiled_predictor import TiledPredictor
    from mask_rcnn.prediction.tiles import Tiling
    from mask_rcnn.structures import Detections
    from mask_rcnn.training.coco_ap import CocoAP
    from mask_rcnn.training.mask_rcnn import MaskRCNN
    from mask_rcnn.training.train import train
    from mask_rcnn.visualization.drawing import draw
else:
    # Type checkers do not see this function, so that they report names that do not exist.
    def __getattr__(name):
        if name not in _PUBLIC:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, attribute = _PUBLIC[name]
        return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
