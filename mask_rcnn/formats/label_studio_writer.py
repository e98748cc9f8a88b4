"""Writer for tasks of Label Studio with predictions or annotations. `label_studio.py` documents the format.

It also writes `labeling_config.xml`, the labeling configuration of a project for these tasks.
"""

import json
import xml.etree.ElementTree as ElementTree
from urllib.parse import quote

import numpy as np

from mask_rcnn.data.masks import full_mask
from mask_rcnn.formats.brush_rle import encode_brush
from mask_rcnn.formats.dataset_files import annotations_by_image, names_by_id, relative_name, write_text
from mask_rcnn.formats.label_studio import TASKS
from mask_rcnn.formats.outlines import single_polygon
from mask_rcnn.formats.registry import WRITERS, Target

CONFIG = "labeling_config.xml"
URL = "/data/local-files/?d="  # prefix of files in Label Studio's local storage
TAGS = {"brush": "BrushLabels", "polygon": "PolygonLabels", "rectangle": "RectangleLabels"}


@WRITERS.register("label_studio")
def write_label_studio(target: Target) -> None:
    """Writes the file tasks.json of Label Studio, one for each part of a split, and labeling_config.xml."""
    kinds = set()
    are_predictions = any(
        "score" in each for content in target.parts.values() for each in content["annotations"]
    )
    for part, content in target.parts.items():
        names, images, tasks = names_by_id(content), annotations_by_image(content), []
        for image, annotations in target.track(images, len(images), f"writing {part}".strip()):
            results = [_result(each, names, image) for each in _objects(annotations, target.findings)]
            kinds |= {result["from_name"] for result in results}
            tasks.append(
                {
                    "data": {"image": URL + quote(image["file_name"])},
                    **_labels(results, target, are_predictions),
                }
            )
        write_text(target.path / relative_name(TASKS, part), json.dumps(tasks))
    write_text(target.path / CONFIG, _config(kinds, names.values()))


def _objects(annotations, findings):
    """Returns the annotations that are not crowd regions. Label Studio has no crowd regions."""
    for each in annotations:
        if each["iscrowd"]:
            findings.repair(
                "Label Studio has no crowd regions: they were left out", f"annotation {each['id']}"
            )
    return [each for each in annotations if not each["iscrowd"]]


def _labels(results, target, are_predictions):
    """Returns `predictions` with the model's name and mean score, or `annotations`."""
    if not are_predictions:
        return {"annotations": [{"result": results}]}
    prediction = {"model_version": target.model_version, "result": results}
    if results:
        prediction["score"] = float(np.mean([result["score"] for result in results]))
    return {"predictions": [prediction]}


def _result(annotation, names, image):
    """Returns the region of an object: a polygon, a brush mask, or a rectangle."""
    size = (image["height"], image["width"])
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, list):
        percent = single_polygon(segmentation, size) * 100 / np.array(size[::-1])
        kind, value = "polygon", {"points": percent.tolist(), "closed": True}
    elif segmentation:
        kind, value = "brush", {"format": "rle", "rle": encode_brush(full_mask(segmentation, *size)).tolist()}
    else:
        x, y, width, height = (
            (np.reshape(annotation["bbox"], (2, 2)) * 100 / np.array(size[::-1])).ravel().tolist()
        )
        kind, value = "rectangle", {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    return {
        "id": f"object{annotation['id']}",
        "type": f"{kind}labels",
        "from_name": kind,
        "to_name": "image",
        "original_width": size[1],
        "original_height": size[0],
        "image_rotation": 0,
        "value": {**value, f"{kind}labels": [names[annotation["category_id"]]]},
        **({"score": annotation["score"]} if "score" in annotation else {}),
    }


def _config(kinds, names):
    """Returns the labeling configuration with a tag for each type of region, or for polygons without any."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true")
    for kind in sorted(kinds) or ["polygon"]:
        labels = ElementTree.SubElement(view, TAGS[kind], name=kind, toName="image")
        for name in names:
            ElementTree.SubElement(labels, "Label", value=name)
    ElementTree.indent(view)
    return f"{ElementTree.tostring(view, encoding='unicode')}\n"
