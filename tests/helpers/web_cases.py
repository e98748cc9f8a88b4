"""Inputs of the page's functions and Python's results: `cases.json` for `web_page.test.js`."""

import numpy as np
from pycocotools import mask as coco_mask

from mask_rcnn.config import Config
from mask_rcnn.evaluation.coco_results import to_coco
from mask_rcnn.export.runners import lite_runner
from mask_rcnn.export.runners.outputs import to_detections
from mask_rcnn.export.writers import lite_file
from mask_rcnn.export.writers.assets import write_assets
from mask_rcnn.postprocessing.paste import METHODS, paste_mask
from mask_rcnn.structures import Category, Detections
from mask_rcnn.visualization.drawing import palette_color

METADATA = {
    "size": [64, 96],
    "resize": "bilinear",
    "size_rounding": "round",
    "centered": False,
    "inclusive_boxes": False,
    "half_pixel": True,
    "keypoints": ["nose", "tail"],
}
CATEGORIES = (Category(3, "cat", ("nose", "tail"), ((1, 2),)),)
CONTENT = b"\0\0\0\0TFL3" + bytes(100)  # the tests do not run it


def random_picture(rng, height, width):
    return rng.integers(0, 256, [height, width, 3]).astype("uint8")


def as_picture(image):
    return {"width": image.shape[1], "height": image.shape[0], "data": image.ravel().tolist()}


def whole(crop, origin, size):
    """Returns a crop in the frame of its image, as a flat list of 0 and 1."""
    mask = np.zeros(size, int)
    mask[origin[0] : origin[0] + crop.shape[0], origin[1] : origin[1] + crop.shape[1]] = crop
    return mask.ravel().tolist()


def rle_cases(rng):
    masks = [rng.uniform(size=(7, 9)) > share for share in (0.1, 0.5, 0.9)]
    masks += [np.zeros((4, 5), bool), np.ones((4, 5), bool), np.eye(6, 8, dtype=bool)]
    masks.append(np.pad(np.ones((300, 500), bool), ((40, 60), (100, 50))))  # runs of several characters
    for mask in masks:
        rle = coco_mask.encode(np.asfortranarray(mask.astype("uint8")))
        yield {
            "size": list(mask.shape),
            "counts": rle["counts"].decode(),
            "mask": mask.astype(int).ravel().tolist(),
        }


def paste_cases(rng):
    boxes = [[3.2, 4.7, 30.1, 41.6], [-5, -3.5, 20, 60], [0, 0, 40, 50], [10, 10, 10, 20], [8, 8, 9.5, 9.5]]
    size = (40, 50)
    for method in METHODS:
        for box in boxes:
            mask = rng.uniform(size=[14, 14]).astype("float32")
            yield _paste_case(mask, box, size, method)
        yield _paste_case(np.full([14, 14], 0.9, "float32"), boxes[0], size, method)


def _paste_case(mask, box, size, method):
    expected = whole(*paste_mask(mask, box, size, method=method), size)
    side = len(mask)
    return {
        "mask": mask.ravel().tolist(),
        "side": side,
        "box": box,
        "size": size,
        "method": method,
        "expected": expected,
    }


def resize_cases(rng):
    image = random_picture(rng, 50, 73)
    for method, tolerance in (("antialiased_uint8", 0), ("bilinear", 1), ("uint8", 1)):
        for size in ((32, 47), (50, 40), (77, 140), (1, 3)):
            expected = lite_runner.resize(image, size, method).ravel().tolist()
            case = {"size": size, "method": method, "tolerance": tolerance, "expected": expected}
            yield {"picture": as_picture(image), **case}


def letterbox_cases(rng):
    for height, width in ((50, 100), (300, 40), (64, 96), (1, 800)):
        for changes in ({}, {"centered": True, "size_rounding": "floor"}):
            image = random_picture(rng, height, width)
            metadata = {**METADATA, "resize": "antialiased_uint8", **changes}
            frame, resized, origin = lite_runner.letterbox(image, metadata)
            case = {"frame": frame.ravel().tolist(), "resized": resized, "origin": origin}
            yield {"picture": as_picture(image), "metadata": metadata, **case}


def keypoint_cases(rng):
    for box in ([3.2, 4.5, 40.1, 30.9], [10, 10, 11, 60], [5, 5, 5.2, 5.3]):
        heatmaps = rng.normal(size=[1, 20, 20, 3]).astype("float32")
        expected = lite_runner.decode_keypoints(heatmaps, np.array([box], "float32"))
        case = {"side": 20, "count": 3, "box": box, "expected": expected.ravel().tolist()}
        yield {"heatmaps": heatmaps.ravel().tolist(), **case}


def detection_cases(rng):
    """Yields a model whose boxes end at the far edge, and one whose boxes name the last pixel."""
    conventions = {"inclusive_boxes": True, "half_pixel": False, "centered": True}
    for changes, paste in (({}, "pixel_centers"), (conventions, "rounded_box")):
        image, metadata = random_picture(rng, 48, 90), {**METADATA, **changes}
        outputs = _outputs(rng)
        runner = lite_runner.Runner.__new__(lite_runner.Runner)
        runner.metadata, runner._run = metadata, lambda inputs, outputs=outputs: dict(outputs)
        found = to_detections(runner(image), image.shape[:2], paste=paste, score_threshold=0.05)
        yield {
            "picture": as_picture(image),
            "metadata": metadata,
            "paste": paste,
            "outputs": {name: values.ravel().tolist() for name, values in outputs.items()},
            "expected": [_expected(found, index, image.shape[:2]) for index in range(len(found))],
        }


def _outputs(rng):
    """Returns outputs for one image: three detections, the last below every score, and one padding row."""
    boxes = [[0.1, 0.2, 0.7, 0.9], [0, 0, 1, 1], [0.3, 0.3, 0.5, 0.5], [0, 0, 0, 0]]
    outputs = {
        "detection_boxes": [boxes],
        "detection_scores": [[0.9, 0.5, 0.01, 0]],
        "detection_classes": [[1, 1, 1, 0]],
        "num_detections": [3],
        "detection_masks": rng.uniform(size=[1, 4, 14, 14]),
        "detection_keypoint_heatmaps": rng.normal(size=[1, 4, 12, 12, 2]),
    }
    return {name: np.array(values, "float32") for name, values in outputs.items()}


def _expected(found, index, size):
    y1, x1, y2, x2 = found.boxes[index].astype("float64").tolist()
    return {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "score": float(found.scores[index]),
        "category_id": CATEGORIES[found.class_ids[index] - 1].id,
        "mask": whole(found.masks[index], found.mask_origins[index], size),
        "keypoints": found.keypoints[index].ravel().tolist(),
    }


def coco_keypoint_cases(rng):
    keypoints = rng.uniform(0, 50, [2, 3, 3]).astype("float32")
    boxes = np.array([[0, 0, 50, 50]] * 2, "float32")
    found = Detections(
        boxes=boxes, scores=[0.9, 0.8], class_ids=[1, 1], image_size=(50, 50), keypoints=keypoints
    )
    for entry, points in zip(to_coco(found, 1, CATEGORIES), keypoints, strict=True):
        yield {"points": points.tolist(), "flat": entry["keypoints"]}


def make_cases():
    """Returns the cases as a dict for JSON, and the bytes of a model with associated files."""
    rng = np.random.default_rng(0)
    assets = write_assets(Config(num_classes=1), CATEGORIES)
    model = lite_file.pack(CONTENT, assets, METADATA)
    makers = {
        "rle": rle_cases,
        "paste": paste_cases,
        "resize": resize_cases,
        "letterbox": letterbox_cases,
        "keypoints": keypoint_cases,
        "detections": detection_cases,
        "coco_keypoints": coco_keypoint_cases,
    }
    cases = {name: list(make(rng)) for name, make in makers.items()}
    cases["colors"] = [
        {"number": number, "shade": shade, "color": palette_color(number, shade)}
        for number in range(1, 12)
        for shade in range(4)
    ]
    return cases, model
