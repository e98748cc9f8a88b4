"""The mask head (Mask R-CNN, figure 4)."""

from mask_rcnn.heads.head import Head, register_builtin
from mask_rcnn.layers.masks import MaskLoss, MaskProbabilities, MergeRois
from mask_rcnn.networks.heads import hidden_convs, mask_head
from mask_rcnn.paste import paste_masks


@register_builtin("mask")
class MaskHead(Head):
    """Predicts a mask inside each box; field `mask_head`."""

    iou_type = "segm"
    outputs = ("masks",)

    def build(self, feature_shape):
        mask = self.settings
        convs = hidden_convs(mask.convs, mask.channels, mask.norm, mask.norm_epsilon)
        num_masks = 1 if mask.class_agnostic else self.config.num_classes + 1
        return mask_head(feature_shape, convs, mask.channels, num_masks)

    def network_inputs(self, features, class_ids):
        return [features, MergeRois(name="mask_class_ids")(class_ids)]

    def loss(self, outputs, positives, batch):
        return {"mask_loss": MaskLoss(name="mask_loss")(outputs, positives, batch)}

    def predict(self, outputs, boxes):
        return {"masks": MaskProbabilities(name="masks")(outputs, boxes)}

    def decode(self, outputs, boxes, resize):
        masks, origins = paste_masks(outputs["masks"], boxes, resize.original, self.settings.paste)
        return {"masks": masks, "mask_origins": origins}

    def class_layers(self, other, same_classes):
        return set() if same_classes or self.settings.class_agnostic else {"mask_head/predictor"}
