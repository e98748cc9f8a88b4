"""Samples of each annotation format, and the objects that are found in them."""

import annotation_samples as samples

from mask_rcnn.data.masks import full_mask

WITHOUT_CROWD = tuple(name for name in samples.ALL if name != "crowd")
# {name of the sample: (format, objects that the format can represent)}
SAMPLES = {
    "coco": ("coco", samples.ALL),
    "lvis": ("lvis", WITHOUT_CROWD),
    "labelme": ("labelme", samples.ALL),
    "yolo": ("yolo", WITHOUT_CROWD),
    "voc": ("voc", samples.ALL),
    "masks": ("masks", samples.ALL),
    "cityscapes_polygons": ("cityscapes", tuple(samples.CITYSCAPES_CLASSES)),
    "cityscapes_ids": ("cityscapes", tuple(samples.CITYSCAPES_CLASSES)),
    "via": ("via", ("l_shape", "crowd", "hexagon", "rectangle")),
    "cvat": ("cvat", samples.ALL),
    "label_studio": ("label_studio", WITHOUT_CROWD),
}


def write_sample(sample, folder):
    return getattr(samples, f"write_{sample}")(folder)


def found_objects(content):
    """Returns (image name, class, mask or None, crowd, bbox) of each annotation."""
    images = {image["id"]: image for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    found = []
    for each in content["annotations"]:
        image = images[each["image_id"]]
        size = (image["height"], image["width"])
        mask = full_mask(each["segmentation"], *size) if each.get("segmentation") else None
        name = image["file_name"].rpartition("/")[2][:1]
        found.append((name, names[each["category_id"]], mask, bool(each["iscrowd"]), each["bbox"]))
    return found
