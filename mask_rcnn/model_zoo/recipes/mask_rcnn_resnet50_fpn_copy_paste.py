import dataclasses

from mask_rcnn.model_zoo.recipes.mask_rcnn_resnet50_fpn_lsj import mask_rcnn_resnet50_fpn_lsj


def mask_rcnn_resnet50_fpn_copy_paste():
    """`mask_rcnn_resnet50_fpn_lsj` with objects of another image pasted into each one (Ghiasi et al. 2021).

    mmdetection publishes, for its Mask R-CNN with large-scale jitter of 0.8 to 1.25 and 270,000 steps, box AP
    43.5 and mask AP 39.1 without, and 45.1 and 40.3 with copy-paste. Ours: not measured yet.
    """
    base = mask_rcnn_resnet50_fpn_lsj()
    transforms = (*base.input.transforms, "copy_paste")
    return dataclasses.replace(base, input=dataclasses.replace(base.input, transforms=transforms))
