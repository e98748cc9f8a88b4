"""One small data set, written by hand in the conventions of each annotation tool.

Image a has objects of several kinds. Image b is a photograph that EXIF rotates, with a rectangle. Image c has
no object. Each function `write_FORMAT(folder)` writes to an empty folder and returns the path for the reader.
"""

import base64
import io
import json

import numpy as np
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from mask_rcnn.data.masks import full_mask

SIZES = {"a.png": (60, 90), "b.jpg": (40, 70), "c.png": (30, 50)}
L_SHAPE = [[5, 5], [25, 5], [25, 15], [15, 15], [15, 30], [5, 30]]
PARTS = [[30, 5], [45, 5], [45, 20], [30, 20]], [[50, 8], [60, 8], [60, 25], [50, 25]]
RING, HOLE = [[5, 35], [35, 35], [35, 57], [5, 57]], [[12, 40], [28, 40], [28, 50], [12, 50]]
CROWD = [[65, 5], [88, 5], [88, 30], [65, 30]]
HEXAGON = [[50, 35.5], [70, 33], [84.5, 44], [75, 56], [55.5, 57], [42, 46]]
RECTANGLE = (10, 8, 40, 30)  # x, y, width, height in image b
ALL = ("l_shape", "parts", "ring", "crowd", "hexagon", "rectangle")
CLASSES = {
    "l_shape": "cat",
    "parts": "dog",
    "ring": "cat",
    "crowd": "dog",
    "hexagon": "bus",
    "rectangle": "cat",
}


def drawn(polygon, size=SIZES["a.png"]):
    """Returns the pixels of a polygon, `[H, W]` bool."""
    return full_mask([np.ravel(polygon).tolist()], *size)


def truth():
    """Returns the ground truth, `{name of the object: (image, class, mask, whether it is a crowd)}`."""
    x, y, width, height = RECTANGLE
    corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]
    masks = {
        "l_shape": drawn(L_SHAPE),
        "parts": drawn(PARTS[0]) | drawn(PARTS[1]),
        "ring": drawn(RING) & ~drawn(HOLE),
        "crowd": drawn(CROWD),
        "hexagon": drawn(HEXAGON),
        "rectangle": drawn(corners, SIZES["b.jpg"]),
    }
    images = {"rectangle": "b.jpg"}
    return {
        name: (images.get(name, "a.png"), CLASSES[name], mask, name == "crowd")
        for name, mask in masks.items()
    }


def write_images(folder, names=None):
    """Writes the images. `names` gives other paths, `{name: path}`."""
    for name, (height, width) in SIZES.items():
        path = folder / (names or {}).get(name, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(height).integers(0, 255, (height, width, 3), "uint8")
        if name == "b.jpg":  # stored rotated; orientation 6 rotates it clockwise
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.fromarray(np.rot90(pixels)).save(path, exif=exif)
        else:
            Image.fromarray(pixels).save(path)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def write_coco(folder):
    write_images(folder)
    ids = {name: id for id, name in enumerate(SIZES, start=11)}
    categories = {"cat": 3, "dog": 7, "bus": 9}
    annotations = []
    for id, (image, label, mask, crowd) in enumerate(truth().values(), start=1):
        rle = coco_mask.encode(np.asfortranarray(mask, "uint8"))
        annotations.append(
            {
                "id": id,
                "image_id": ids[image],
                "category_id": categories[label],
                "bbox": coco_mask.toBbox(rle).tolist(),
                "area": int(mask.sum()),
                "iscrowd": int(crowd),
                "segmentation": {"size": list(mask.shape), "counts": rle["counts"].decode()},
            }
        )
    annotations[0]["segmentation"] = [np.ravel(L_SHAPE).tolist()]
    annotations[1]["segmentation"] = [np.ravel(part).tolist() for part in PARTS]
    annotations[4]["segmentation"] = [np.ravel(HEXAGON).tolist()]
    content = {
        "images": [
            {"id": ids[name], "file_name": name, "height": height, "width": width}
            for name, (height, width) in SIZES.items()
        ],
        "categories": [{"id": id, "name": name} for name, id in categories.items()],
        "annotations": annotations,
    }
    return _write_json(folder / "instances.json", content)


def write_lvis(folder):
    path = write_coco(folder)
    content = json.loads(path.read_text())
    for image in content["images"]:
        name = image.pop("file_name")
        image["coco_url"] = f"http://images.cocodataset.org/val2017/{name}"
        image |= {"neg_category_ids": [7], "not_exhaustive_category_ids": [3]}
    for category in content["categories"]:
        category |= {"synset": f"{category['name']}.n.01", "frequency": "c", "def": "...", "synonyms": []}
    for annotation in content["annotations"]:
        del annotation["iscrowd"]
    content["annotations"] = [each for each in content["annotations"] if each["id"] != 4]
    return _write_json(path, content)


def write_labelme(folder):
    write_images(folder / "photos")
    ring = truth()["ring"][2][35:57, 5:35]
    shapes = [
        _labelme_shape("cat", L_SHAPE),
        _labelme_shape("dog", PARTS[0], group_id=4),
        _labelme_shape(
            "cat", [[5, 35], [34, 56]], "mask", mask=base64.b64encode(png(ring.astype("uint8"))).decode()
        ),
        _labelme_shape("dog", PARTS[1], group_id=4),
        _labelme_shape("dog", CROWD, flags={"iscrowd": True}),
        _labelme_shape("bus", HEXAGON),
        _labelme_shape("cat", [[3, 3]], "point"),
    ]
    x, y, width, height = RECTANGLE
    rectangle = _labelme_shape("cat", [[x + width, y + height], [x, y]], "rectangle")
    for name, found in (("a.png", shapes), ("b.jpg", [rectangle]), ("c.png", [])):
        content = {
            "version": "5.4.1",
            "flags": {},
            "shapes": found,
            "imagePath": f"..\\photos\\{name}",  # as labelme writes it on Windows
            "imageData": None,
            "imageHeight": SIZES[name][0],
            "imageWidth": SIZES[name][1],
        }
        _write_json(folder / "json" / f"{name[0]}.json", content)
    return folder / "json"


def _labelme_shape(label, points, kind="polygon", group_id=None, flags=None, mask=None):
    fields = {"label": label, "points": points, "group_id": group_id, "description": "", "shape_type": kind}
    return {**fields, "flags": flags or {}, "mask": mask}


def write_yolo(folder):
    write_images(folder, {name: f"images/train/{name}" for name in SIZES})
    height, width = SIZES["a.png"]

    def line(number, polygon):
        return " ".join([str(number), *(f"{x / width:.6f} {y / height:.6f}" for x, y in polygon)])

    # Parts and holes are connected by a line that is traversed in both directions.
    parts = [*PARTS[0][:2], PARTS[1][0], *PARTS[1][1:], PARTS[1][0], *PARTS[0][1:]]
    ring = [RING[0], HOLE[0], *reversed(HOLE), *RING]
    lines = [line(0, L_SHAPE), line(1, parts), line(0, ring), line(2, HEXAGON)]
    x, y, box_width, box_height = RECTANGLE
    box = ((x + box_width / 2) / 70, (y + box_height / 2) / 40, box_width / 70, box_height / 40)
    labels = folder / "labels" / "train"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text("\n".join(lines) + "\n")
    (labels / "b.txt").write_text("0 {:.6f} {:.6f} {:.6f} {:.6f}".format(*box))
    names = {0: "cat", 1: "dog", 2: "bus"}
    content = {"path": "../datasets/animals", "train": "images/train", "val": "images/train", "names": names}
    (folder / "data.yaml").write_text(yaml.safe_dump(content))
    return folder / "data.yaml"


def write_voc(folder):
    write_images(folder, {name: f"JPEGImages/{name}" for name in SIZES})
    for name in ("Annotations", "SegmentationObject", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    objects = {name: [each for each in truth().values() if each[0] == name] for name in SIZES}
    for name, found in objects.items():
        ids = np.zeros(SIZES[name], "uint8")
        for number, (*_, mask, _) in enumerate(found, start=1):
            ids[mask] = number
        ids[0] = 255  # void
        image = Image.fromarray(ids)
        image.putpalette(list(range(256)) * 3)
        image.save(folder / "SegmentationObject" / f"{name[0]}.png")
        (folder / "Annotations" / f"{name[0]}.xml").write_text(_voc_xml(name, found))
    (folder / "Annotations" / "boxes_only.xml").write_text("<annotation/>")
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("a\nb\n")
    return folder


def _voc_xml(name, objects):
    lines = []
    for _, label, mask, crowd in objects:
        rows, columns = np.flatnonzero(mask.any(1)) + 1, np.flatnonzero(mask.any(0)) + 1  # from 1
        corners = {"xmin": columns[0], "ymin": rows[0], "xmax": columns[-1], "ymax": rows[-1]}
        box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners.items())
        fields = f"<name>{label}</name><truncated>0</truncated><difficult>{int(crowd)}</difficult>"
        lines.append(f"<object>{fields}<bndbox>{box}</bndbox></object>")
    height, width = SIZES[name]
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return (
        f"<annotation><filename>{name}</filename>{size}<segmented>1</segmented>{''.join(lines)}</annotation>"
    )


def write_masks(folder):
    write_images(folder / "photos")
    for name in SIZES:
        (folder / "masks" / name[0]).mkdir(parents=True)
    for number, (image, label, mask, crowd) in enumerate(truth().values()):
        file = folder / "masks" / image[0] / f"{number}_{label}{'.crowd' * crowd}.png"
        file.write_bytes(png(mask.astype("uint8") * 255))
    return folder / "masks"


def write_cityscapes_polygons(folder):
    _write_cityscapes_images(folder)

    def pixels(polygon):  # indices of the border pixels, because Cityscapes draws the border, too
        right, bottom = max(x for x, _ in polygon), max(y for _, y in polygon)
        return [[x - (x == right), y - (y == bottom)] for x, y in polygon]

    objects = [
        {"label": "sky", "polygon": [[0, 0], [89, 0], [89, 59], [0, 59]]},
        {"label": "person", "polygon": [[5, 5], [24, 5], [24, 14], [14, 14], [14, 29], [5, 29]]},
        {"label": "car", "polygon": pixels(RING)},
        {"label": "license plate", "polygon": pixels([[30, 36], [34, 36], [34, 38], [30, 38]])},
        {"label": "pole", "polygon": pixels(HOLE)},
        {"label": "bus", "polygon": pixels(PARTS[0]), "deleted": 1},
        {"label": "cargroup", "polygon": pixels(CROWD)},
    ]
    for name, found in (("a", objects), ("c", [])):
        height, width = SIZES[f"{name}.png"]
        path = folder / "gtFine" / "train" / "ulm" / f"{name}_gtFine_polygons.json"
        _write_json(path, {"imgHeight": height, "imgWidth": width, "objects": found})
    return folder / "gtFine"


def write_cityscapes_ids(folder):
    _write_cityscapes_images(folder)
    (folder / "gtFine" / "train" / "ulm").mkdir(parents=True)
    for name in ("a", "c"):
        ids = np.full(SIZES[f"{name}.png"], 23, "uint16")  # sky
        if name == "a":
            for object, id in (("l_shape", 24000), ("ring", 26000), ("crowd", 26)):
                ids[truth()[object][2]] = id
        (folder / "gtFine" / "train" / "ulm" / f"{name}_gtFine_instanceIds.png").write_bytes(png(ids))
    return folder / "gtFine"


def _write_cityscapes_images(folder):
    names = {name: f"leftImg8bit/train/ulm/{name[0]}_leftImg8bit.png" for name in ("a.png", "c.png")}
    write_images(folder, {**names, "b.jpg": "leftImg8bit/b.jpg"})


CITYSCAPES_CLASSES = {"l_shape": "person", "ring": "car", "crowd": "car"}


def write_via(folder):
    write_images(folder)
    x, y, width, height = RECTANGLE
    regions = {
        "a.png": [_via_polygon(L_SHAPE, "cat"), _via_polygon(CROWD, "dog"), _via_polygon(HEXAGON, "bus")],
        "b.jpg": [_via_region({"name": "rect", "x": x, "y": y, "width": width, "height": height}, "cat")],
        "c.png": [_via_region({"name": "point", "cx": 3, "cy": 4}, "cat")],
    }
    images = {
        f"{name}1234": {"filename": name, "size": 1234, "regions": found, "file_attributes": {}}
        for name, found in regions.items()
    }
    content = {
        "_via_settings": {},
        "_via_img_metadata": images,
        "_via_attributes": {"region": {}, "file": {}},
    }
    return _write_json(folder / "via_project.json", content)


def _via_polygon(points, label):
    x, y = ([point[axis] for point in points] for axis in (0, 1))
    return _via_region({"name": "polygon", "all_points_x": x, "all_points_y": y}, label)


def _via_region(shape, label):
    return {"shape_attributes": shape, "region_attributes": {"animal": label}}


def write_cvat(folder):
    write_images(folder / "images")
    ring = truth()["ring"][2][35:57, 5:35]
    edges = np.flatnonzero(np.diff(ring.ravel().astype(int), prepend=0, append=1 - int(ring[-1, -1])))
    runs = np.diff(edges, prepend=0).tolist()  # the first run is background
    x, y, width, height = RECTANGLE
    mask = f'rle="{", ".join(map(str, runs))}" left="5" top="35" width="30" height="22"'
    shapes = [
        _cvat_polygon("cat", L_SHAPE),
        _cvat_polygon("dog", PARTS[0], ' group_id="1"'),
        _cvat_polygon("dog", PARTS[1], ' group_id="1"'),
        f'<mask label="cat" source="manual" occluded="0" {mask} z_order="0"></mask>',
        _cvat_polygon("dog", CROWD, content='<attribute name="is_crowd">true</attribute>'),
        _cvat_polygon("bus", HEXAGON, ' occluded="1"'),
        _cvat_polygon("cat", HEXAGON, ' outside="1"'),
        '<points label="cat" points="3.00,4.00"></points>',
    ]
    box = f'<box label="cat" xtl="{x}.0" ytl="{y}.0" xbr="{x + width}.0" ybr="{y + height}.0"></box>'
    sizes = {name: f'width="{width}" height="{height}"' for name, (height, width) in SIZES.items()}
    images = "".join(
        f'<image id="{id}" name="{name}" {sizes[name]}>{"".join(found)}</image>'
        for id, (name, found) in enumerate({"a.png": shapes, "b.jpg": [box], "c.png": []}.items())
    )
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("dog", "cat", "bus"))
    meta = f"<version>1.1</version><meta><task><labels>{labels}</labels></task></meta>"
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    (folder / "annotations.xml").write_text(f"{head}<annotations>{meta}{images}</annotations>\n")
    return folder / "annotations.xml"


def _cvat_polygon(label, points, fields="", content=""):
    text = ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return f'<polygon label="{label}" points="{text}"{fields} z_order="0">{content}</polygon>'


def write_label_studio(folder):
    write_images(folder)
    x, y, width, height = RECTANGLE
    percent = {"x": x / 0.7, "y": y / 0.4, "width": width / 0.7, "height": height / 0.4, "rotation": 0}
    results = {
        "a.png": [
            _label_studio_polygon("cat", L_SHAPE),
            _label_studio_brush("dog", truth()["parts"][2]),
            _label_studio_brush("cat", truth()["ring"][2]),
            # As the tag `Labels` writes it: two results with one id.
            {**_label_studio_polygon("", HEXAGON), "id": "7", "type": "polygon"},
            {"id": "7", "type": "labels", "value": {"labels": ["bus"]}},
        ],
        "b.jpg": [_label_studio_result("rectangle", "cat", percent, "b.jpg")],
        "c.png": [],
    }
    # An uploaded file, a local file, and a URL.
    urls = {"a.png": "/data/upload/3/1f0e5a77-a.png", "b.jpg": "/data/local-files/?d=photos/b.jpg"}
    tasks = [
        {
            "id": id,
            "data": {"image": urls.get(name, f"https://example.com/{name}?token=1")},
            "annotations": [{"id": id, "was_cancelled": False, "result": found}],
            "predictions": [],
        }
        for id, (name, found) in enumerate(results.items())
    ]
    return _write_json(folder / "project.json", tasks)


def _label_studio_polygon(label, points):
    height, width = SIZES["a.png"]
    percent = [[100 * x / width, 100 * y / height] for x, y in points]
    return _label_studio_result("polygon", label, {"points": percent, "closed": True})


def _label_studio_brush(label, mask):
    return _label_studio_result("brush", label, {"format": "rle", "rle": brush_rle(mask)})


def _label_studio_result(kind, label, value, name="a.png"):
    height, width = SIZES[name]
    fields = {"original_width": width, "original_height": height, "image_rotation": 0}
    names = {
        "id": f"{kind}-{label}-{name}",
        "type": f"{kind}labels",
        "from_name": "label",
        "to_name": "image",
    }
    return {**names, **fields, "value": {**value, **({f"{kind}labels": [label]} if label else {})}}


def brush_rle(mask):
    """Returns Label Studio's brush RLE of a mask, in runs of at most 2 ** 16 values."""
    values = np.repeat(mask.ravel() * 255, 4)
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    bits = f"{len(values):032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    for start, end in zip(starts, [*starts[1:], len(values)], strict=True):
        kind, size = next((kind, size) for kind, size in enumerate((3, 4, 8, 16)) if end - start <= 2**size)
        bits += f"1{kind:02b}{end - start - 1:0{size}b}{values[start]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def _write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
