"""Reader for the JSON export of Label Studio, a list of tasks.

Facts of the format (https://labelstud.io/guide/export):

- A task has its image in `data`, and a list of `annotations`, one per annotator. An annotation has a list
  `result`. A task for import may have the `predictions` of a model in the same form.
- Coordinates of a `value` are percent of `original_width` and `original_height`, the size of the upright
  image.
- `rotation` is in degrees, clockwise: of a rectangle about its upper left corner, of an ellipse about its
  center.
- The class is in a list whose name is the type of the result, such as `polygonlabels`. With the tag `Labels`,
  the shape and its `labels` are two results with the same `id`.
- Names of uploaded files begin with eight hexadecimal digits and a dash; the names of local files follow
  `?d=`.
"""

import contextlib
import functools
import re
from urllib.parse import unquote

import numpy as np

from mask_rcnn.data.findings import shown
from mask_rcnn.formats import field_checks, shapes
from mask_rcnn.formats.brush_rle import decode_brush
from mask_rcnn.formats.coco_builder import build_coco_content
from mask_rcnn.formats.registry import READERS, FoundImage, Source
from mask_rcnn.structures import encode_crop

EXPECTED = "a json export of Label Studio"
TASKS = "tasks.json"  # file in the folder that the writer creates
UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # before the name of an uploaded file
SHAPES = ("polygon", "brush", "rectangle", "ellipse")


@READERS.register("label_studio")
def read_label_studio(source: Source) -> dict:
    """Reads the JSON export of Label Studio: polygons, brush masks, rectangles and ellipses."""
    path = source.path / TASKS if source.path.is_dir() else source.path
    tasks = field_checks.checked_value(source.read_json(path, EXPECTED), list, str(path))
    numbered = list(enumerate(tasks))
    return build_coco_content(source, numbered, functools.partial(_read_task, source))


def _read_task(source, numbered):
    number, task = numbered
    where = f"[{number}] of {source.path}"
    results = _results(_labels(task, where, source), where, source)
    path = _image_path(task, where, source)
    labels = {}
    for result in results:
        value = field_checks.value_of(
            field_checks.checked_value(result, dict, where), "value", dict, where=where, default={}
        )
        if isinstance(result.get("id"), str) and "labels" in value:
            labels[result["id"]] = value["labels"]
    size = source.images.size(path)
    objects = [
        _object(result, f"result[{index}] of {where}", labels=labels, path=path, size=size, source=source)
        for index, result in enumerate(results)
    ]
    return FoundImage(path, size, [each for each in objects if each])


def _labels(task, where, source):
    """Returns the annotations of a task, or its predictions if it has not been labeled."""
    # Before version 1.0, annotations were called completions.
    labeled = {"annotations", "completions"} & set(field_checks.checked_value(task, dict, where))
    if not labeled and task.get("predictions"):
        source.findings.repair("tasks without annotations: the predictions of a model were taken", where)
        return field_checks.value_of(task, "predictions", list, where=where)
    return field_checks.value_of(task, "annotations", list, where=where)


def _results(annotations, where, source):
    """Returns the results of the first annotation that was not canceled."""
    usable = [
        each
        for each in annotations
        if not field_checks.is_set(field_checks.checked_value(each, dict, where).get("was_cancelled"))
    ]
    if not usable:
        source.findings.repair("tasks without a finished annotation have no objects", where)
        return []
    if len(usable) > 1:
        source.findings.repair("tasks with several annotations: the first one was taken", where)
    return field_checks.value_of(usable[0], "result", list, where=where)


def _image_path(task, where, source):
    """Returns the path of the image of a task. Its name is in `data` or in `file_upload`."""
    data = field_checks.value_of(task, "data", dict, where=where)
    urls = [data.get("image"), *data.values(), task.get("file_upload")]
    names = [
        unquote(url.rpartition("?d=")[2].partition("?")[0]) for url in urls if isinstance(url, str) and url
    ]
    if not names:
        raise ValueError(f"Expected `image` in `data` of {where}. Received: {shown(data)}. Correct the file.")
    # The names of uploaded files begin with eight digits and a dash.
    names += [name.rpartition("/")[2][9:] for name in names if UPLOADED.match(name.rpartition("/")[2])]
    for name in names:
        with contextlib.suppress(ValueError):
            return source.images.find(name, where)
    return source.images.find(names[0], where)  # raises the error of the first name


def _object(result, where, *, labels, path, size, source):
    kind = field_checks.value_of(result, "type", str, where=where).removesuffix("labels")
    if kind not in SHAPES:
        if kind:  # the type `labels` only contains the class of another result
            source.findings.repair(
                "results other than polygon, brush, rectangle and ellipse were left out", where
            )
        return None
    sides = [
        field_checks.whole_number_of(result, f"original_{side}", where, default=None)
        for side in ("height", "width")
    ]
    source.images.checked_size(path, sides, where)
    if field_checks.number_of(result, "image_rotation", where, default=0):
        raise ValueError(
            f"Expected annotations of the upright image. Received: {where} with image_rotation="
            f"{shown(result['image_rotation'])}. Rotate the image file and annotate it again."
        )
    value = field_checks.value_of(result, "value", dict, where=where)
    names = value.get(f"{kind}labels") or (
        labels.get(id) if isinstance(id := result.get("id"), str) else None
    )
    if not isinstance(names, list) or not names:
        raise ValueError(f"Expected a label of {where}. Received: {shown(names)}. Add one in Label Studio.")
    if len(names) > 1:
        source.findings.repair("objects with several labels: the first one was taken", where)
    masks, boxes = _parts(kind, value, size=size, where=where)
    label = field_checks.class_name(names[0], where)
    return shapes.object_of_shapes(label, masks, boxes, size=size, source=source, where=where)


def _parts(kind, value, *, size, where):
    """Returns (masks, boxes) of a result. One list has one item, the other one is empty."""
    scale = np.array(size[::-1]) / 100  # pixels per percent, (x, y)
    number = functools.partial(field_checks.number_of, value, where=where)
    if kind == "polygon":
        return [field_checks.polygon(value.get("points"), where) * scale], []
    if kind == "brush":
        return [_brush(value, size, where)], []
    position = np.array([number("x"), number("y")]) * scale
    rotation = number("rotation", default=0.0)
    if kind == "ellipse":
        radii = np.array([number("radiusX"), number("radiusY")]) * scale
        return [shapes.ellipse(position, radii, degrees=rotation)], []
    sides = np.array([number("width"), number("height")]) * scale
    return [], [shapes.rectangle(position, sides, degrees=rotation, pivot=position)]


def _brush(value, size, where):
    data = field_checks.value_of(value, "rle", list, where=where)
    try:
        if not all(type(each) is int and 0 <= each < 256 for each in data):
            raise ValueError("numbers that are not bytes, 0 to 255")
        mask = decode_brush(np.array(data, "uint8"), size)
    except ValueError as error:
        raise ValueError(
            f"Expected `rle` of Label Studio's brush in {where}. Received: {error}. Export the file again."
        ) from error
    return encode_crop(mask, (0, 0), size)
