"""Mask head (Mask R-CNN, figure 4) and the variants of the paper's ablations (table 2)."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from mask_rcnn.data.transforms import Resize
from mask_rcnn.heads.head import Head, register_builtin
from mask_rcnn.layers.mask_variants import ClassLogOdds, SoftmaxMaskLoss
from mask_rcnn.layers.masks import FlattenRois, MaskLoss, MaskProbabilities
from mask_rcnn.networks.heads import hidden_convs, mask_head, mlp_mask_head
from mask_rcnn.ops.tensor import Tensor
from mask_rcnn.postprocessing.paste import paste_masks


@register_builtin("mask")
class MaskHead(Head):
    """Predicts a mask inside each box. Its config section is `mask_head`."""

    iou_type = "segm"
    outputs = ("masks",)

    def build(self, feature_shape: tuple[int, int, int]) -> keras.Model:
        mask = self.settings
        convs = hidden_convs(mask.convs, mask.channels, norm=mask.norm, norm_epsilon=mask.norm_epsilon)
        num_masks = 1 if mask.class_agnostic else self.config.num_classes + 1
        if mask.dense_units:
            return mlp_mask_head(
                feature_shape,
                convs,
                dense_units=mask.dense_units,
                num_outputs=num_masks,
                competing=self._competing,
            )
        return mask_head(
            feature_shape, convs, channels=mask.channels, num_outputs=num_masks, competing=self._competing
        )

    @property
    def _competing(self):
        return self.settings.loss == "softmax"

    def network_inputs(self, features: Tensor, class_ids: Tensor) -> Tensor | list[Tensor]:
        return [features, FlattenRois(name="mask_class_ids")(class_ids)]

    def loss(
        self, outputs: Tensor, positives: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        compare = SoftmaxMaskLoss if self._competing else MaskLoss
        return {"mask_loss": compare(name="mask_loss")(outputs, positives, batch)}

    def predict(self, outputs: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        logits = ClassLogOdds(name="mask_of_class")(outputs) if self._competing else outputs
        return {"masks": MaskProbabilities(name="masks")(logits, boxes)}

    def decode(self, outputs: Mapping[str, np.ndarray], boxes: np.ndarray, resize: Resize) -> dict[str, Any]:
        masks, origins = paste_masks(outputs["masks"], boxes, resize.original, method=self.settings.paste)
        return {"masks": masks, "mask_origins": origins}

    def class_layers(self, other: Head | None, same_classes: bool) -> set[str]:
        return set() if same_classes or self.settings.class_agnostic else {"mask_head/predictor"}
