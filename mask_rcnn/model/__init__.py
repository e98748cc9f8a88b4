"""The model: its networks (`build_parts`), connected to a `training_model` and an `inference_model`."""

from mask_rcnn.model.architecture import inference_model, training_model
from mask_rcnn.model.parts import Parts, build_parts, dtype_policy

__all__ = ["Parts", "build_parts", "dtype_policy", "inference_model", "training_model"]
