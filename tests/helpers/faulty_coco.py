"""A small COCO data set without errors, and a function for each kind of fault that a check finds."""

import copy
import io
import json

import numpy as np
from PIL import Image

SIZE = (64, 80)  # (height, width) of the images
NUM_IMAGES = 4
CORNERS = [(y, x) for y in (4, 34) for x in (4, 30, 56)]  # (y, x) of the objects in each image
SIDE = 20  # side of an object, pixels


def clean_content():
    """Returns COCO content with four images of six squares each."""
    images = [
        {"id": id, "file_name": f"{id}.png", "height": SIZE[0], "width": SIZE[1]}
        for id in range(1, NUM_IMAGES + 1)
    ]
    annotations = []
    for image in images:
        for y, x in CORNERS:
            annotations.append(square(len(annotations) + 1, image["id"], y, x))
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cup"}]}


def square(id, image_id, y, x, side=SIDE):
    """Returns the annotation of a square."""
    outline = [x, y, x + side, y, x + side, y + side, x, y + side]
    return {
        "id": id,
        "image_id": image_id,
        "category_id": 1,
        "bbox": [x, y, side, side],
        "area": side * side,
        "iscrowd": 0,
        "segmentation": [outline],
    }


def photograph(seed, size=SIZE):
    """Returns an image of smooth random colors, `[H, W, 3]` uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype="uint8")
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BILINEAR))


def write_clean(folder, first_seed=0):
    """Writes the images and the annotations to a folder, and returns the content."""
    folder.mkdir(parents=True, exist_ok=True)
    content = clean_content()
    for number, image in enumerate(content["images"]):
        Image.fromarray(photograph(first_seed + number)).save(folder / image["file_name"])
    write_json(folder, content)
    return content


def write_json(folder, content):
    (folder / "instances.json").write_text(json.dumps(content))


def _cut_off(folder, content):
    path = folder / "2.png"
    path.write_bytes(path.read_bytes()[:300])


def _damaged_inside(folder, content):
    """Damages a file that still has its end marker. Only decoding detects it."""
    path = folder / "2.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _no_file(folder, content):
    (folder / "3.png").unlink()


def _other_size(folder, content):
    content["images"][0].update(height=SIZE[1], width=SIZE[0])


def _empty_box(folder, content):
    content["annotations"][3].update(bbox=[5, 5, 0, 10], segmentation=[])


def _box_elsewhere(folder, content):
    content["annotations"][3].update(bbox=[500, 500, 10, 10], segmentation=[])


def _box_partly_outside(folder, content):
    content["annotations"][3].update(bbox=[70, 40, 20, 20], segmentation=[[70, 40, 90, 40, 90, 60, 70, 60]])


def _crossing(folder, content):
    content["annotations"][7]["segmentation"] = [[30, 4, 50, 24, 50, 4, 30, 24]]
    content["annotations"][7]["area"] = 200


def _box_unlike_mask(folder, content):
    content["annotations"][0]["bbox"] = [4, 4, 30, 20]


def _area_unlike_mask(folder, content):
    content["annotations"][0]["area"] = 4000


def _repeated(folder, content):
    content["annotations"].append({**content["annotations"][5], "id": 1000})


def _nearly_repeated(folder, content):
    content["annotations"].append(square(1000, 1, 4.2, 4.2))


def _same_bytes(folder, content):
    (folder / "4.png").write_bytes((folder / "1.png").read_bytes())


def _same_photograph(folder, content):
    smaller = Image.open(folder / "1.png").resize((64, 52)).resize(SIZE[::-1])
    file = io.BytesIO()
    smaller.save(file, "JPEG", quality=70)
    (folder / "4.png").write_bytes(file.getvalue())


def _no_object(folder, content):
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != 4]


def _empty_class(folder, content):
    content["categories"].append({"id": 2, "name": "spoon"})


def _rare_class(folder, content):
    _empty_class(folder, content)
    content["annotations"][0]["category_id"] = 2


def _many_objects(folder, content):
    count = 101
    content["annotations"] += [square(1000 + i, 1, i % 10 * 4, i // 10 * 5, 12) for i in range(count)]


def _tiny(folder, content):
    content["annotations"].append(square(1000, 1, 60, 60, 0.1))
    content["annotations"][-1]["segmentation"] = []


def _without_mask(folder, content):
    del content["annotations"][0]["segmentation"]


def _sixteen_bits(folder, content):
    pixels = photograph(0).astype("uint16")[..., 0] * 257
    Image.fromarray(pixels).save(folder / "1.png")


def _twelve_bits(folder, content):
    for number in range(1, NUM_IMAGES + 1):
        Image.fromarray(photograph(number).astype("uint16")[..., 0] * 16).save(folder / f"{number}.png")


def _gray(folder, content):
    Image.open(folder / "1.png").convert("L").save(folder / "1.png")


def _rotated(folder, content):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(folder / "1.png").save(folder / "1.png", exif=exif)


def _anchors(folder, content):
    content["annotations"] += [square(1000 + i, 1, 30, 3 * i, 1) for i in range(20)]


def _ids_as_text(folder, content):
    for image in content["images"]:
        image["id"] = str(image["id"])


def _undeclared_image(folder, content):
    content["annotations"].append(square(1000, 99, 4, 4))


def _unclear(folder, content):
    content["annotations"][0]["category_id"] = 77


def _list_of_results(folder, content):
    del content["images"]


def _only_crowds(folder, content):
    for one in content["annotations"]:
        one["iscrowd"] = 1


# `{name of the fault: (kind of the finding, its severity, function that makes the fault)}`.
FAULTS = {
    make.__name__.strip("_"): (kind, severity, make)
    for kind, severity, make in (
        ("bad_image", "error", _cut_off),
        ("bad_image", "error", _damaged_inside),
        ("bad_image", "error", _no_file),
        ("bad_image", "error", _other_size),
        ("bad_annotation", "error", _empty_box),
        ("bad_annotation", "error", _box_elsewhere),
        ("outside_box", "warning", _box_partly_outside),
        ("self_crossing", "warning", _crossing),
        ("box_and_mask", "warning", _box_unlike_mask),
        ("mask_area", "note", _area_unlike_mask),
        ("duplicate_objects", "warning", _repeated),
        ("duplicate_objects", "warning", _nearly_repeated),
        ("identical_images", "warning", _same_bytes),
        ("similar_images", "note", _same_photograph),
        ("images_without_objects", "note", _no_object),
        ("empty_classes", "note", _empty_class),
        ("rare_classes", "warning", _rare_class),
        ("too_many_objects", "warning", _many_objects),
        ("tiny_objects", "warning", _tiny),
        ("without_mask", "warning", _without_mask),
        ("untrainable", "error", _without_mask),
        ("mixed_bits", "warning", _sixteen_bits),
        ("unused_bits", "warning", _twelve_bits),
        ("mixed_color", "note", _gray),
        ("rotated_images", "note", _rotated),
        ("anchors", "warning", _anchors),
        ("repaired", "note", _ids_as_text),
        ("repaired", "warning", _undeclared_image),
        ("unclear_entries", "error", _unclear),
        ("unreadable_json", "error", _list_of_results),
        ("no_objects", "error", _only_crowds),
    )
}


def write_faulty(folder, fault):
    """Writes the data set with one fault to a folder."""
    content = copy.deepcopy(write_clean(folder))
    FAULTS[fault][2](folder, content)
    write_json(folder, content)
