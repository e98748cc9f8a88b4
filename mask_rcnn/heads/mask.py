"""Mask head (Mask R-CNN, figure 4) and the variants of the paper's ablations (table 2)."""

from mask_rcnn.heads.head import Head, register_builtin
from mask_rcnn.layers.mask_variants import ClassLogOdds, SoftmaxMaskLoss
from mask_rcnn.layers.masks import FlattenRois, MaskLoss, MaskProbabilities
from mask_rcnn.networks.heads import hidden_convs, mask_head, mlp_mask_head
from mask_rcnn.postprocessing.paste import paste_masks


@register_builtin("mask")
class MaskHead(Head):
    """Predicts a mask inside each box. Its config section is `mask_head`."""

    iou_type = "segm"
    outputs = ("masks",)

    def build(self, feature_shape):
        mask = self.settings
        convs = hidden_convs(mask.convs, mask.channels, mask.norm, mask.norm_epsilon)
        num_masks = 1 if mask.class_agnostic else self.config.num_classes + 1
        if mask.dense_units:
            return mlp_mask_head(feature_shape, convs, mask.dense_units, num_masks, self._competing)
        return mask_head(feature_shape, convs, mask.channels, num_masks, self._competing)

    @property
    def _competing(self):
        return self.settings.loss == "softmax"

    def network_inputs(self, features, class_ids):
        return [features, FlattenRois(name="mask_class_ids")(class_ids)]

    def loss(self, outputs, positives, batch):
        compare = SoftmaxMaskLoss if self._competing else MaskLoss
        return {"mask_loss": compare(name="mask_loss")(outputs, positives, batch)}

    def predict(self, outputs, boxes):
        logits = ClassLogOdds(name="mask_of_class")(outputs) if self._competing else outputs
        return {"masks": MaskProbabilities(name="masks")(logits, boxes)}

    def decode(self, outputs, boxes, resize):
        masks, origins = paste_masks(outputs["masks"], boxes, resize.original, method=self.settings.paste)
        return {"masks": masks, "mask_origins": origins}

    def class_layers(self, other, same_classes):
        return set() if same_classes or self.settings.class_agnostic else {"mask_head/predictor"}
