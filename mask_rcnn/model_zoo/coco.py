"""The categories of COCO (Lin et al. 2014). Most published detectors are trained on them."""

from mask_rcnn.config.roi_heads import COCO_KEYPOINTS
from mask_rcnn.structures import Category

NUM_IDS = 90
UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # planned in 2014, but no object has them
_NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, "
    "stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, "
    "backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, "
    "baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, "
    "bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, "
    "potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, "
    "oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush"
)

COCO_CATEGORIES = tuple(
    Category(coco_id, name)
    for coco_id, name in zip(
        (i for i in range(1, NUM_IDS + 1) if i not in UNUSED_IDS), _NAMES.split(", "), strict=True
    )
)
# Skeleton of a person, in the order of COCO's keypoint json: legs, trunk, arms, face.
COCO_SKELETON = (
    *((16, 14), (14, 12), (17, 15), (15, 13), (12, 13)),
    *((6, 12), (7, 13), (6, 7)),
    *((6, 8), (7, 9), (8, 10), (9, 11)),
    *((2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7)),
)
COCO_PERSON = (Category(1, "person", COCO_KEYPOINTS, COCO_SKELETON),)

# torchvision uses the COCO id as the class id, so ten of its classes have no objects.
COCO_CATEGORIES_WITH_GAPS = tuple(
    sorted((*COCO_CATEGORIES, *(Category(i, f"unused {i}") for i in UNUSED_IDS)), key=lambda x: x.id)
)
