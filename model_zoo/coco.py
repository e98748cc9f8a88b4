"""The categories of COCO (Lin et al. 2014), on which most published detectors were trained."""

from mask_rcnn.structures import Category

NUM_IDS = 90
UNUSED_IDS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)  # planned in 2014, without a single object
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
COCO_PERSON = COCO_CATEGORIES[:1]

# As torchvision numbers its classes: the COCO id itself, so that ten of them never occur.
COCO_CATEGORIES_WITH_GAPS = tuple(
    sorted((*COCO_CATEGORIES, *(Category(i, f"unused {i}") for i in UNUSED_IDS)), key=lambda x: x.id)
)
