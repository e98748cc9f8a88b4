"""Weights of detectron2's model zoo. AP is from its MODEL_ZOO.md, file names are from its model_zoo.py."""

from mask_rcnn.model_zoo.entries.entry import Entry

BASE = "https://dl.fbaipublicfiles.com/detectron2/"
LICENSE = "CC BY-SA 3.0"
SOURCE = "detectron2, MODEL_ZOO.md and detectron2/model_zoo/model_zoo.py"

# Name, model id, first digits of the file's MD5 (in the file name, see MODEL_ZOO.md), description, box AP,
# and mask or keypoint AP.
MASK = (
    ("mask_rcnn_R_50_C4_1x", 137259246, "9243eb", "Mask R-CNN R50-C4 1x", 36.8, 32.2),
    ("mask_rcnn_R_50_C4_3x", 137849525, "4ce675", "Mask R-CNN R50-C4 3x", 39.8, 34.4),
    ("mask_rcnn_R_101_C4_3x", 138363239, "a2914c", "Mask R-CNN R101-C4 3x", 42.6, 36.7),
    ("mask_rcnn_R_50_DC5_1x", 137260150, "4f86c3", "Mask R-CNN R50-DC5 1x", 38.3, 34.2),
    ("mask_rcnn_R_50_DC5_3x", 137849551, "84107b", "Mask R-CNN R50-DC5 3x", 40.0, 35.9),
    ("mask_rcnn_R_101_DC5_3x", 138363294, "0464b7", "Mask R-CNN R101-DC5 3x", 41.9, 37.3),
    ("mask_rcnn_R_50_FPN_1x", 137260431, "a54504", "Mask R-CNN R50-FPN 1x", 38.6, 35.2),
    ("mask_rcnn_R_50_FPN_3x", 137849600, "f10217", "Mask R-CNN R50-FPN 3x", 41.0, 37.2),
    ("mask_rcnn_R_101_FPN_3x", 138205316, "a3ec72", "Mask R-CNN R101-FPN 3x", 42.9, 38.6),
    ("mask_rcnn_X_101_32x8d_FPN_3x", 139653917, "2d9806", "Mask R-CNN X101-32x8d-FPN 3x", 44.3, 39.5),
)
LONG_JITTER = (
    ("mask_rcnn_R_50_FPN_100ep_LSJ", 42047764, "bb69de", "Mask R-CNN R50-FPN LSJ 100 ep", 44.6, 40.3),
    ("mask_rcnn_R_50_FPN_200ep_LSJ", 42047638, "89a8d3", "Mask R-CNN R50-FPN LSJ 200 ep", 46.3, 41.7),
    ("mask_rcnn_R_50_FPN_400ep_LSJ", 42019571, "14d201", "Mask R-CNN R50-FPN LSJ 400 ep", 47.4, 42.5),
    ("mask_rcnn_R_101_FPN_100ep_LSJ", 42025812, "4f7b58", "Mask R-CNN R101-FPN LSJ 100 ep", 46.4, 41.6),
    ("mask_rcnn_R_101_FPN_200ep_LSJ", 42131867, "0bb7ae", "Mask R-CNN R101-FPN LSJ 200 ep", 48.0, 43.1),
    ("mask_rcnn_R_101_FPN_400ep_LSJ", 42073830, "f96b26", "Mask R-CNN R101-FPN LSJ 400 ep", 48.9, 43.7),
)
MISC = (
    ("mask_rcnn_R_50_FPN_3x_syncbn", 169527823, "3b3c51", "Mask R-CNN R50-FPN SyncBN 3x", 41.9, 37.8),
    ("mask_rcnn_R_50_FPN_3x_gn", 138602888, "dc5d9e", "Mask R-CNN R50-FPN GN 3x", 42.6, 38.6),
    ("scratch_mask_rcnn_R_50_FPN_3x_gn", 138602908, "01ca85", "the same from scratch", 39.9, 36.6),
    ("cascade_mask_rcnn_R_50_FPN_1x", 138602847, "e9d89b", "Cascade Mask R-CNN R50-FPN 1x", 42.1, 36.4),
    ("cascade_mask_rcnn_R_50_FPN_3x", 144998488, "480dd8", "Cascade Mask R-CNN R50-FPN 3x", 44.3, 38.5),
)
KEYPOINTS = (
    ("keypoint_rcnn_R_50_FPN_1x", 137261548, "04e291", "Keypoint R-CNN R50-FPN 1x", 53.6, 64.0),
    ("keypoint_rcnn_R_50_FPN_3x", 137849621, "a6e10b", "Keypoint R-CNN R50-FPN 3x", 55.4, 65.5),
    ("keypoint_rcnn_R_101_FPN_3x", 138363331, "997cc7", "Keypoint R-CNN R101-FPN 3x", 56.4, 66.1),
    ("keypoint_rcnn_X_101_32x8d_FPN_3x", 139686956, "5ad38f", "Keypoint R-CNN X101-FPN 3x", 57.3, 66.0),
)
BOXES = (
    ("faster_rcnn_R_50_C4_1x", 137257644, "721ade", "Faster R-CNN R50-C4 1x", 35.7, None),
    ("faster_rcnn_R_50_C4_3x", 137849393, "f97cb7", "Faster R-CNN R50-C4 3x", 38.4, None),
    ("faster_rcnn_R_101_C4_3x", 138204752, "298dad", "Faster R-CNN R101-C4 3x", 41.1, None),
    ("faster_rcnn_R_50_DC5_1x", 137847829, "51d356", "Faster R-CNN R50-DC5 1x", 37.3, None),
    ("faster_rcnn_R_50_DC5_3x", 137849425, "68d202", "Faster R-CNN R50-DC5 3x", 39.0, None),
    ("faster_rcnn_R_101_DC5_3x", 138204841, "3e0943", "Faster R-CNN R101-DC5 3x", 40.6, None),
    ("faster_rcnn_R_50_FPN_1x", 137257794, "b275ba", "Faster R-CNN R50-FPN 1x", 37.9, None),
    ("faster_rcnn_R_50_FPN_3x", 137849458, "280758", "Faster R-CNN R50-FPN 3x", 40.2, None),
    ("faster_rcnn_R_101_FPN_3x", 137851257, "f6e8b1", "Faster R-CNN R101-FPN 3x", 42.0, None),
    ("faster_rcnn_X_101_32x8d_FPN_3x", 139173657, "68b088", "Faster R-CNN X101-32x8d-FPN 3x", 43.0, None),
)


def _detectors(folder: str, rows: tuple[tuple, ...], score: str) -> tuple[Entry, ...]:
    """Returns the entries of `rows`. The last column becomes the field `score`, such as "mask_ap"."""
    return tuple(
        Entry(
            name=f"detectron2/{name}",
            description=f"{description}, COCO train2017",
            url=f"{BASE}{folder}/{name}/{model_id}/model_final_{digits}.pkl",
            file_format="pkl",
            license=LICENSE,
            source=SOURCE,
            published="detectron2, MODEL_ZOO.md, COCO val2017",
            md5=digits,
            box_ap=box_ap,
            **{score: ap},
        )
        for name, model_id, digits, description, box_ap, ap in rows
    )


def _msra(name: str, architecture: str) -> Entry:
    return Entry(
        name=f"detectron2/MSRA/{name}",
        description=f"{architecture} of MSRA (stride in the 1x1, BGR), ImageNet-1k",
        url=f"{BASE}ImageNetPretrained/MSRA/{name}.pkl",
        file_format="pkl",
        license=LICENSE,
        source="detectron2, MODEL_ZOO.md",
        published="",
        is_backbone=True,
        unconfirmed=("hash: none is published", "accuracy: none is published for this copy"),
    )


ENTRIES = (
    *_detectors("COCO-InstanceSegmentation", MASK, "mask_ap"),
    *_detectors("new_baselines", LONG_JITTER, "mask_ap"),
    *_detectors("Misc", MISC, "mask_ap"),
    *_detectors("COCO-Keypoints", KEYPOINTS, "keypoint_ap"),
    *_detectors("COCO-Detection", BOXES, "mask_ap"),
    _msra("R-50", "ResNet-50"),
    _msra("R-101", "ResNet-101"),
)
